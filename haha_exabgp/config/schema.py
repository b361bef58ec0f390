"""The shape of one Home: every site, Home Agent, key and mobile router, as typed values.

Only shapes stand here; what must hold between values (a partition inside Home, say) is in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ..protocol.home import LeakPolicy, Locate, ReplayProtectionMode
from ..wire.authentication import Algorithm

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,14}$")]
"""Names become file, namespace and unit names: lower case, digits and dashes, at most 15 characters."""
Asn = Annotated[int, Field(strict=True, ge=1, le=4294967294)]
Spi = Annotated[int, Field(strict=True, ge=256, le=4294967295)]
"""Security parameter index; 0-255 are reserved (RFC 4285 s.5)."""
Switch = Annotated[bool, Field(strict=True)]
"""true or false; pydantic by itself would take "yes", "off" and 1 as well."""


def _address_text(value: object) -> object:
    if isinstance(value, IPv6Address) or (isinstance(value, str) and "%" not in value):
        return value
    raise PydanticCustomError("address_text", "Not the text of one address without a zone")


def _prefix_text(value: object) -> object:
    if isinstance(value, IPv6Network) or (isinstance(value, str) and "/" in value):
        return value
    raise PydanticCustomError("prefix_text", "Not the text address/length")


HostAddress = Annotated[IPv6Address, BeforeValidator(_address_text)]
"""One IPv6 address, written as text: pydantic by itself would take the number 5 as ::5."""
Network = Annotated[IPv6Network, BeforeValidator(_prefix_text)]
"""An IPv6 prefix with its length: without the length it would pass as a /128."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SiteRole(StrEnum):
    """What a site is for the mobile routers of the Home (draft-thubert-mext-global-haha-01 s.6)."""

    PRIMARY = "primary"
    SATELLITE = "satellite"


class PrefixMode(StrEnum):
    """How a mobile router tells its prefixes (RFC 3963 s.5.2)."""

    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


class KeyAlgorithm(StrEnum):
    """What a key is used with, as people write it."""

    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA256 = "hmac-sha256"

    @property
    def algorithm(self) -> Algorithm:
        """The same for the packet path."""
        return Algorithm[self.name]


class Datapath(StrEnum):
    """Which kernel mechanism makes the tunnels; auto: ip6tnl where the kernel has it, else seg6."""

    AUTO = "auto"
    SEG6 = "seg6"
    IP6TNL = "ip6tnl"


class HomeAgent(_Strict):
    outer: HostAddress
    """Provider-routed, outside Home: tunnel end, DHAAD answer, Binding Update destination."""
    haha: HostAddress
    """A /128 of the mesh prefix: BGP session and BGP next hop between Home Agents."""
    preference: int = Field(strict=True, default=0, ge=0, le=65535)
    """Among those of the site: the highest is the border Home Agent, and first in discovery."""

    def address_in(self, lent: IPv6Network) -> IPv6Address:
        """Of a satellite's Home Agent, the address in a prefix that a parent lends: the care-of address in
        registrations with primaries. It ends as the HAHA address does."""
        return lent[int(self.haha) & int(lent.hostmask)]


class Router(_Strict):
    """The router of a site: BGP to the Internet and, in the Home's AS, to the Home Agents."""

    address: HostAddress
    """On the link it shares with the site's Home Agents."""


class RouteReflector(_Strict):
    """A host with FRR or BIRD that reflects the routes between Home Agents (RFC 4456)."""

    address: HostAddress
    """On the link that the site's router shares with the Home Agents; BGP sessions end there."""


class Site(_Strict):
    role: SiteRole = SiteRole.PRIMARY
    partition: Network | None = Field(default=None, validate_default=True)
    """None for a satellite."""
    shared: Switch = False
    """True on every site that shares an overlapping partition on purpose."""
    locate: dict[Name, Locate] = Field(default_factory=dict)
    """How this site and others that share its partition find out which of them holds a binding. Default: as
    `home.locate` has it."""
    parents: dict[Name, Network] = Field(default_factory=dict)
    """Of a satellite: primary sites, best first, each with the prefix of its partition that it lends."""
    secondary_bindings: Switch = True
    """Of a satellite: tell the parent too which mobile routers are here (draft s.5.3.1)."""
    provider_prefix: Network
    leak: LeakPolicy = LeakPolicy.ALWAYS
    """Of mobile routers that have none of their own, while they are bound here."""
    max_leaks: int | None = Field(default=None, strict=True, ge=0, le=10_000_000)
    """Prefixes that one Home Agent leaks at the same time. Default: any number."""
    router: Router
    reflectors: dict[Name, RouteReflector] = Field(default_factory=dict)
    """If any site has some, all Home Agents of the Home have sessions with these, not with each other."""
    home_agents: dict[Name, HomeAgent] = Field(min_length=1)

    @field_validator("partition")
    @classmethod
    def _primary_has_a_partition(cls, value: IPv6Network | None, info: ValidationInfo) -> IPv6Network | None:
        if value is None and info.data.get("role", SiteRole.PRIMARY) is SiteRole.PRIMARY:
            raise PydanticCustomError("missing", "Field required")
        return value

    @property
    def is_satellite(self) -> bool:
        return self.role is SiteRole.SATELLITE


class HomeSubnet(_Strict):
    """A part of Home whose end is known, as when it is renumbered."""

    prefix: Network
    valid_until: AwareDatetime
    """No binding lasts longer."""
    preferred_until: AwareDatetime | None = None
    """From then on mobile routers are told that it is deprecated. Default: as long as it is valid."""


class OnDemandRoutes(_Strict):
    """Routes straight to the Home Agent that holds a mobile router, asked for when there is traffic."""

    threshold: int = Field(strict=True, default=10, ge=1, le=100_000)
    """Packets a second towards one /64 above which such a route is asked for."""
    holding_time: int = Field(strict=True, default=300, ge=12, le=65535)
    """Seconds that an answer is good; renewed at a third of it while there is traffic."""
    max_routes: int = Field(strict=True, default=10_000, ge=1, le=1_000_000)
    """Mobile routers to whom one Home Agent has such routes."""


class Home(_Strict):
    prefix: Network
    asn: Asn
    mesh_prefix: Network
    mesh_key_file: Path
    """Authenticates mobility messages between Home Agents (RFC 4285)."""
    mesh_spi: Spi = 256
    bgp_key_file: Path
    """TCP MD5 (RFC 2385) of every BGP session inside the Home's AS."""
    key_directory: Path | None = None
    """Holds the keys of mobile routers that name no key file."""
    mobile_router_db: Path | None = None
    """SQLite file with more mobile routers (`config/mobile_router_db.py`)."""
    insecure_tunnel: Switch = False
    """Says yes to HAHA tunnels that are plain IPv6-in-IPv6: anyone on the path can read and forge."""
    datapath: Datapath = Datapath.AUTO
    min_sites_reached: int | None = Field(default=None, strict=True, ge=0)
    """Announce Home only while this many other sites are reached over the mesh. Default: 1 where
    there are three sites or more, else 0: of two sites cut apart neither can serve for the other,
    and withdrawing both would take all of Home down."""
    max_binding_lifetime: int = Field(strict=True, default=3600, ge=4, le=262140)
    """Seconds: the longest binding granted."""
    max_bindings: int = Field(strict=True, default=200_000, ge=1, le=10_000_000)
    """At one Home Agent; one more is refused (status 130)."""
    refresh_advice: int | None = Field(default=None, strict=True, ge=4, le=262140)
    """Seconds after which a mobile router is advised to refresh (RFC 6275 s.6.2.4). Default: no advice."""
    refresh_requests: Switch = True
    """Ask mobile routers to refresh a binding that is about to end (RFC 6275 s.6.1.2)."""
    signalling_each: int = Field(strict=True, default=20, ge=1, le=100_000)
    """Mobility messages a second let in from one address."""
    signalling_total: int = Field(strict=True, default=25_000, ge=1, le=1_000_000)
    """Mobility messages a second let in from all addresses that have no acknowledgement yet."""
    subnets: list[HomeSubnet] = Field(default_factory=list)
    """Parts of Home whose end is known."""
    locate: Locate = Locate.PREDICTIVE
    """How sites that share a partition find out which of them holds a binding (draft s.10.2)."""
    hello_interval: float = Field(default=1.0, ge=0.1, le=60.0)
    """Seconds between two HELLOs of a Home Agent; three that do not come mean that it is down."""
    max_learned: int = Field(strict=True, default=250_000, ge=1, le=10_000_000)
    """Prefixes that one BGP session of a Home Agent may bring; more are passed over."""
    leak_traffic: int = Field(strict=True, default=10, ge=1, le=1_000_000)
    """Packets a second from other sites that make a leak of policy on-traffic worth its while."""
    leak_idle: int = Field(strict=True, default=60, ge=5, le=86400)
    """Seconds without so much traffic after which such a leak is withdrawn."""
    flap_moves: int = Field(strict=True, default=5, ge=0, le=1000)
    """Changes of Home Agent within `flap_window` that are not too many (RFC 7432 s.15.1); 0: no damping."""
    flap_window: int = Field(strict=True, default=180, ge=1, le=86400)
    """Seconds; who has moved too often is not leaked until it has stayed for as long."""
    on_demand: OnDemandRoutes | None = None
    """Default: no such routes."""
    lease: int = Field(strict=True, default=180, ge=5, le=86400)
    """Seconds that announcements stay when the agent is gone."""


class Key(_Strict):
    """One key of a mobile router; without a file it is in the directory of keys."""

    spi: Spi
    key_file: Path | None = None
    algorithm: KeyAlgorithm = KeyAlgorithm.HMAC_SHA1


class MobileRouter(_Strict):
    home_address: HostAddress
    prefixes: list[Network] = Field(default_factory=list)
    """Empty for a plain mobile node."""
    mode: PrefixMode = PrefixMode.EXPLICIT
    key_file: Path | None = None
    spi: Spi | None = None
    """With `key_file` the short form of one HMAC-SHA1 key, ahead of those of `keys`."""
    keys: list[Key] = Field(default_factory=list)
    """The mobile router signs with the first; the Home Agents take each."""
    aaa_key_file: Path | None = None
    """Of the MN-AAA authenticator (RFC 4285 s.5.2) in its Binding Updates. Default: none."""
    keys_at: list[Name] | None = None
    """Home Agents that have its keys. Default: all."""
    replay: ReplayProtectionMode = ReplayProtectionMode.TIMESTAMP
    proxies: list[Name] | None = None
    """Home Agents that may bind it as proxies. Default: all."""
    leak: LeakPolicy | None = None
    """Whether other sites are told where it is. Default: as the site has it that holds it."""
    lifetime: int = Field(strict=True, default=600, ge=8, le=262140)
    """Seconds: the binding lifetime it asks for."""


class Lab(_Strict):
    """What `haha lab` adds around the Home: an Internet to stand in."""

    internet_prefix: Network = IPv6Network("3fff:f00::/24")
    """Links, correspondents and access networks are numbered out of it."""
    first_asn: Asn = 64496
    """The Internet router next to the first site has this AS number, the next site's the next."""
    ospf6_sites: list[Name] = Field(default_factory=list)
    """Sites with a second router, which the first tells by OSPFv3 what its Home Agents have told it."""
    access_routers: list[Name] = Field(default_factory=list)
    """Mobile routers whose networks others can be plugged into."""


class HomeConfig(_Strict):
    """One whole file."""

    home: Home
    sites: dict[Name, Site] = Field(min_length=1)
    mobile_routers: dict[Name, MobileRouter] = Field(default_factory=dict)
    lab: Lab = Field(default_factory=Lab)

    def partitions(self) -> Iterator[tuple[str, Site, IPv6Network]]:
        """Every primary site as (name, site, partition), in the file's order."""
        for name, site in self.sites.items():
            if site.partition is not None:
                yield name, site, site.partition

    def lent_prefixes(self) -> Iterator[tuple[str, str, IPv6Network]]:
        """Every prefix that a parent lends, as (satellite, parent, prefix), in the file's order."""
        for name, site in self.sites.items():
            for parent, prefix in site.parents.items():
                yield name, parent, prefix

    def are_adjacent(self, one: str, other: str) -> bool:
        """Whether tunnels and BGP sessions join the Home Agents of these two sites: of two primary sites, and
        of a satellite and its parents (draft s.5.1.2)."""
        sites = self.sites[one], self.sites[other]
        if not any(site.is_satellite for site in sites):
            return True
        return one in sites[1].parents or other in sites[0].parents

    def reflectors(self) -> Iterator[tuple[str, str, RouteReflector]]:
        """Every route reflector as (site name, name, reflector), in the file's order."""
        for site_name, site in self.sites.items():
            for name, reflector in site.reflectors.items():
                yield site_name, name, reflector

    def home_agents(self) -> Iterator[tuple[str, Site, str, HomeAgent]]:
        """Every Home Agent as (site name, site, name, Home Agent), in the file's order."""
        for site_name, site in self.sites.items():
            for name, home_agent in site.home_agents.items():
                yield site_name, site, name, home_agent
