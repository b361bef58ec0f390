"""The numbers that IANA has given out."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.codes import BindingErrorStatus, HahaFlag, MobilityType, Status
from haha_exabgp.wire.icmpv6 import IcmpErrorType

# RFC 6275 s.6.1.8 and s.12, RFC 3963 s.4.2, RFC 4285 s.7, RFC 5213 s.8.9, RFC 5648 s.4.4, RFC 7148 s.5.
STATUSES = {
    0: "ACCEPTED",
    1: "ACCEPTED_PREFIX_DISCOVERY_NECESSARY",
    4: "MULTIPLE_CARE_OF_NOT_COMPLETE",
    5: "MULTIPLE_CARE_OF_RETURN_HOME_WITHOUT_ND",
    128: "REASON_UNSPECIFIED",
    129: "ADMINISTRATIVELY_PROHIBITED",
    130: "INSUFFICIENT_RESOURCES",
    131: "HOME_REGISTRATION_NOT_SUPPORTED",
    132: "NOT_HOME_SUBNET",
    133: "NOT_HOME_AGENT",
    134: "DUPLICATE_ADDRESS_DETECTION_FAILED",
    135: "SEQUENCE_OUT_OF_WINDOW",
    136: "EXPIRED_HOME_NONCE_INDEX",
    137: "EXPIRED_CARE_OF_NONCE_INDEX",
    138: "EXPIRED_NONCES",
    139: "REGISTRATION_TYPE_CHANGE_DISALLOWED",
    140: "MOBILE_ROUTER_OPERATION_NOT_PERMITTED",
    141: "INVALID_PREFIX",
    142: "NOT_AUTHORIZED_FOR_PREFIX",
    143: "FORWARDING_SETUP_FAILED",
    144: "IDENTIFICATION_MISMATCH",
    145: "MESSAGE_IDENTIFICATION_REQUIRED",
    146: "AUTHENTICATION_FAILED",
    156: "TIMESTAMP_MISMATCH",
    157: "TIMESTAMP_LOWER_THAN_PREVIOUS",
    164: "MULTIPLE_CARE_OF_MALFORMED",
    165: "MULTIPLE_CARE_OF_NON_MULTIPLE_EXISTS",
    166: "MULTIPLE_CARE_OF_PROHIBITED",
    167: "MULTIPLE_CARE_OF_UNKNOWN",
    168: "MULTIPLE_CARE_OF_BULK_PROHIBITED",
    169: "MULTIPLE_CARE_OF_HOME_AND_FOREIGN_PROHIBITED",
    174: "INVALID_CARE_OF_ADDRESS",
    177: "NOT_AUTHORIZED_FOR_DELEGATED_PREFIX",
    178: "DELEGATED_PREFIX_IN_USE",
}


def test_statuses_of_an_acknowledgement() -> None:
    assert {int(status): status.name for status in Status} == STATUSES


@pytest.mark.requirement("M-BE")
def test_statuses_of_a_binding_error() -> None:
    assert {int(status): status.name for status in BindingErrorStatus} == {
        1: "UNKNOWN_BINDING",
        2: "UNRECOGNIZED_MOBILITY_TYPE",
    }


@pytest.mark.requirement("M-TYPES")
def test_types_of_the_mobility_header() -> None:
    assert {int(kind): kind.name for kind in MobilityType} == {
        0: "BINDING_REFRESH_REQUEST",
        1: "HOME_TEST_INIT",
        2: "CARE_OF_TEST_INIT",
        3: "HOME_TEST",
        4: "CARE_OF_TEST",
        5: "BINDING_UPDATE",
        6: "BINDING_ACKNOWLEDGEMENT",
        7: "BINDING_ERROR",
        11: "EXPERIMENTAL",
        12: "HOME_AGENT_SWITCH",
        13: "HEARTBEAT",
        16: "BINDING_REVOCATION",
    }


def test_icmpv6_errors() -> None:
    assert {int(kind): kind.name for kind in IcmpErrorType} == {
        1: "DESTINATION_UNREACHABLE",
        2: "PACKET_TOO_BIG",
        3: "TIME_EXCEEDED",
        4: "PARAMETER_PROBLEM",
    }


@pytest.mark.requirement("M-HAHA")
def test_flags_between_home_agents() -> None:
    assert {flag.name: int(flag) for flag in HahaFlag} == {
        "GLOBAL": 8,
        "ACKNOWLEDGE": 4,
        "MORE_FRAGMENTS": 2,
        "DELETE": 1,
    }
