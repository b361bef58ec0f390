"""Why a message gets no answer."""

from __future__ import annotations

from enum import StrEnum


class Drop(StrEnum):
    """Why a message was dropped without an answer; the label of its counter."""

    UNKNOWN_HOME_ADDRESS = "unknown_home_address"
    NO_AUTHENTICATION = "no_authentication"
    UNKNOWN_SPI = "unknown_spi"
    BAD_AUTHENTICATOR = "bad_authenticator"
    NOT_HOME_REGISTRATION = "not_home_registration"
    NONCE_INDICES_IN_HOME_REGISTRATION = "nonce_indices_in_home_registration"
    CARE_OF_ADDRESS_NOT_UNICAST = "care_of_address_not_unicast"
    DUPLICATE = "duplicate"
    REPLAYED = "replayed"
    NOT_FOR_US = "not_for_us"
    NOT_OUTSTANDING = "not_outstanding"
    BAD_RELAYED_UPDATE = "bad_relayed_update"
    UNEXPECTED_MESSAGE = "unexpected_message"
    NOT_FROM_ITS_CARE_OF_ADDRESS = "not_from_its_care_of_address"
    NOT_FROM_A_MOBILE_NETWORK = "not_from_a_mobile_network"
    """A discovery request in a tunnel that is none of a mobile router bound here, or not from behind it."""
    TOO_MANY_DISCOVERIES = "too_many_discoveries"
    TOO_MANY_SOLICITATIONS = "too_many_solicitations"
    TOO_MANY_RELAYED = "too_many_relayed"
    """Binding Updates that only a primary can verify."""
    UNANSWERABLE = "unanswerable"
    """One of these that is to be refused, and whose sender would take no refusal of ours."""
    NOT_VOUCHED_FOR = "not_vouched_for"
    """One of these that the primary did not find authentic."""
    TOO_MANY_OUTSTANDING = "too_many_outstanding"
    """So much has been asked of other Home Agents, and not answered, that no more is."""
    TOO_MANY_RESOLUTIONS = "too_many_resolutions"
    """A shorter way could have been asked for, and there are, or were just now, enough of them."""
    TOO_MANY_ERRORS = "too_many_errors"
    """An answer to a stranger was due, and there have been enough of them."""
