"""Reasons that answers of sluice name (docs/protocol.md). Made from the program's table by `dump_tables
reasons-python`; a test compares."""

NAMES = {
    0: "too_big",  # the client's own: the path's MTU became too small
    13: "empty_datagram",
    14: "source_denied",
    15: "rate_limited",
    19: "chunk_timeout",
    20: "bad_json",
    21: "bad_utf8",
    22: "missing_field",
    23: "bad_type",
    24: "too_long",
    25: "timestamp_past",
    26: "timestamp_future",
    27: "duplicate_key",
    28: "bad_timestamp",
    29: "bad_event_id",
    30: "unknown_type",
    31: "too_deep",
    32: "bad_value",
    33: "bad_format",
    40: "rule_drop",
    41: "no_batch",
    42: "journal_failed",
    43: "journal_full",
    44: "duplicate",
    45: "dead_letter_quota",
    46: "record_too_big",
    50: "shed_low",
    51: "bad_frame",
    52: "frame_version",
    53: "bad_mac",
    54: "bad_chunk",
    55: "chunk_duplicate",
    56: "chunk_too_long",
    57: "chunk_table_full",
    58: "shed_normal",
    59: "protect_failed",
}


def reason_name(reason):
    """Of an id; one that this file does not know yet: "reason ID"."""
    return NAMES.get(reason, f"reason {reason}")
