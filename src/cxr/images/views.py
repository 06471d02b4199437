"""From which side the patient was seen: frontal, lateral or unknown.

View Position (0018,5101) is free text in practice, often empty and sometimes wrong, so only
spellings known to mean one thing count; everything else is `unknown`, which is never guessed.
"""

from collections.abc import Iterable

FRONTAL = "frontal"
LATERAL = "lateral"
UNKNOWN = "unknown"

_BY_POSITION = {
    **dict.fromkeys(("PA", "AP", "AP AXIAL", "PA AXIAL", "FRONTAL"), FRONTAL),
    # LATERAL is no defined term of PS3.3 C.8.11.1, but most of MIMIC-CXR's laterals say it
    **dict.fromkeys(("LL", "RL", "LATERAL", "LAT", "LEFT LATERAL", "RIGHT LATERAL"), LATERAL),
}
_BY_CODE = {
    # PS3.16 CID 4010, as SNOMED CT and as the SNOMED-RT codes of older files
    **dict.fromkeys(("399348003", "R-10206", "272479007", "R-10214", "R-40888"), FRONTAL),
    **dict.fromkeys(("399067008", "R-102CD", "49370004"), LATERAL),
    **dict.fromkeys(("399173006", "R-10236", "399198007", "R-10232"), LATERAL),
}
_BY_MEANING = {
    **dict.fromkeys(("postero-anterior", "antero-posterior", "frontal"), FRONTAL),
    **dict.fromkeys(("lateral", "left lateral", "right lateral"), LATERAL),
}


def normalise(view_position: str, codes: Iterable[tuple[str, str]] = ()) -> str:
    """Say which side an image shows.

    Args:
        view_position: View Position (0018,5101) as written.
        codes: Code Value and Code Meaning of the View Code Sequence (0054,0220), asked only
            where the position says nothing.

    Returns:
        `frontal`, `lateral` or `unknown`; obliques, decubitus and swimmer's views are unknown.

    >>> normalise("LL"), normalise("", [("R-10206", "antero-posterior")]), normalise("LAO")
    ('lateral', 'frontal', 'unknown')
    """
    position = " ".join(view_position.upper().split())
    if position:
        return _BY_POSITION.get(position, UNKNOWN)
    for value, meaning in codes:
        found = _BY_CODE.get(value.strip()) or _BY_MEANING.get(meaning.strip().casefold())
        if found:
            return found
    return UNKNOWN
