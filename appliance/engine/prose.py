"""Ordinary business prose for an engine to read while it is measured, long enough to repeat nothing.

What repeats itself would flatter engines that guess ahead from what they have read.
"""

from __future__ import annotations

from typing import Final

TEXT: Final = """The delivery of Tuesday arrived with two pallets missing, and the warehouse noted it on paper but not
in the system. Mrs. Keller asks what she should tell the customer in Bremen, who needs the pumps for a plant that is to
start next Monday. The carrier says that the pallets were never loaded; our own pictures show that they stood at gate
four at half past five. Please draft a short answer that apologizes, names a new date, and offers to send the smaller
parts ahead by courier at our cost. Keep in mind that the framework contract gives us five working days before a penalty
of half a percent for each day is due. Attached are the order, the slip, and the list of serial numbers.

For the meeting on Thursday, make a table of all late deliveries of this quarter: number, customer, days late, cause,
and what each has cost us. Group them by reason, and add one line on the three largest with a proposal to prevent it.
Sales would like to know beforehand whether any of these buyers have asked for a discount since, because two of them
are up for renewal in spring, and nobody wants to be surprised in front of the board.

The minutes of the works council are ready except for point six. There the chair wrote that overtime may be paid out
only after the third month, while the agreement from last year says that people can choose between money and free days
at any time. Legal thinks the older wording holds until both sides sign something new. Ask Mr. Brandt which version he
wants to publish, and remind him that the notice must hang in the canteen before the holidays begin.

Our landlord has announced that the heating in building C will be replaced in August. Rooms on the second floor cannot
be used for nine days, so accounting moves into the training centre, and the apprentices get laptops to learn from
home. The printers stay where they are. Whoever needs a key for the cellar should sign the sheet at reception; it was
lost twice in recent years, and changing every lock would come to almost four thousand euros.

A supplier of seals near Lyon offers a new rubber compound which survives hot oil for twice as many hours. Engineering
tested six samples: five passed without a mark, one cracked close to the mould line. They suspect a bubble rather than
bad material, yet want thirty more pieces before giving an opinion. Purchasing points out that the price is eleven cents
higher, and that customs papers take about a week. If we decide by Friday, the parts can be built into the series that
leaves in October; otherwise it is the one after New Year.

From the service desk: a dentist in Graz called because her compressor hums at night. Our technician suggested turning
the pressure switch back by a quarter, which helped for one evening. She is friendly but tired, sleeps above the
practice, and has guests coming. Somebody should drive there this week, take a spare valve along, and look whether the
rubber feet were mounted at all. Warranty ended in May, though goodwill seems wise: she has recommended us to four
colleagues.

Notes on the budget: travel is below plan since most audits happen by video now, energy far above it, licences roughly
as expected. Marketing gave back a trade fair and would rather print the catalogue in Polish and Czech. The managing
director agrees in principle but asks for figures on how many requests reach us from those countries, split by machine
type, and what a translator charges for a page. Please also explain in plain words why depreciation jumped; it was the
lathe, which went into operation earlier than anybody had hoped. """
