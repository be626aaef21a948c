"""Notes: what a person should know of some prefixes and no number plan says. Each is dated and names its source."""

from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True)
class Note:
    """Of every subject that lies in these digits or over them, in English and Indonesian."""

    digits: str
    country: str
    text: str
    text_id: str
    source: str
    at: date


NOTES: Final = (
    Note(
        "77",
        "KZ",
        "+77 is most numbers in use in all of Kazakhstan, not a scam range; +7 is Russia too",
        "+77 adalah sebagian besar nomor yang dipakai di seluruh Kazakhstan, bukan rentang penipuan; +7 juga Rusia",
        "ITU-T E.164 list of assigned country codes (+7: Kazakhstan, Russian Federation); libphonenumber 9.0, KZ",
        date(2026, 11, 22),
    ),
    Note(
        "76",
        "KZ",
        "+76 belongs to Kazakhstan too",
        "+76 juga milik Kazakhstan",
        "ITU-T E.164 list of assigned country codes (+7 6 and +7 7: Kazakhstan)",
        date(2026, 11, 22),
    ),
    Note(
        "70",
        "KZ",
        "+70 belongs to Kazakhstan too, since 2024; lists of number plans may not know it yet",
        "+70 juga milik Kazakhstan sejak 2024; daftar rencana penomoran mungkin belum mengenalnya",
        "ITU operational bulletins on +7, 2023 to 2024",
        date(2026, 11, 22),
    ),
    Note(
        "870",
        "001",
        "+870 is Inmarsat: ships and aircraft call from it, also in distress",
        "+870 adalah Inmarsat: kapal dan pesawat menelepon dari sana, juga dalam keadaan darurat",
        "ITU-T E.164 list of assigned country codes (+870: Inmarsat SNAC)",
        date(2026, 11, 22),
    ),
    Note(
        "881",
        "001",
        "+881 is shared by satellite networks: people call from it where nothing else reaches",
        "+881 dipakai bersama oleh jaringan satelit: orang menelepon dari sana di tempat tanpa jaringan lain",
        "ITU-T E.164 list of assigned country codes (+881: global mobile satellite system, shared code)",
        date(2026, 11, 22),
    ),
)
