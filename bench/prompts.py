"""Prompts with labels for `python -m bench.routing`: written for it by hand, in English and German, by kind of work.

`SIMPLE` is work that a small model does well enough, `HARD` is all other. In each kind the first, third, ... prompt
is for choosing thresholds, the second, fourth, ... for checking them.
"""

from __future__ import annotations

from typing import Any, Final

REPORT: Final = """\
In the second quarter the workshop took 1,184 orders, 9% more than in the first. Repairs made up 61% of them, new
parts 27%, and advice the rest. The new lathe stood still for eleven days, because its spindle bearing came late from
the supplier; the night shift made up for most of it. Sick days fell from 4.1% to 3.6%. Two apprentices passed their
exams and stay with us. The energy bill rose by 14%, although less was used: the old contract ended in April.
Customers complained 23 times, mostly about late delivery, which is four fewer than before. The board asked for a
proposal on a second lathe, and for a comparison of buying, leasing and giving the work away. The works council asked
for a rule on the hours before bank holidays. Both are due by the end of August."""
BERICHT: Final = """\
Die Gemeinde hat im Frühjahr drei Varianten für die Umgehungsstraße prüfen lassen. Variante A führt nördlich am Ort
vorbei, kostet 18,4 Millionen Euro und zerschneidet das Feuchtgebiet am Mühlbach. Variante B nutzt die alte
Bahntrasse, kostet 22,1 Millionen Euro und braucht zwei Brücken. Variante C ist ein Ausbau der heutigen Straße mit
Lärmschutz, kostet 9,7 Millionen Euro, entlastet den Ort aber kaum. Die Bürgerversammlung lehnte Variante A mit großer
Mehrheit ab. Der Naturschutzverband hat für diesen Fall eine Klage angekündigt. Das Landratsamt erwartet eine
Förderung von höchstens 60 Prozent, und nur, wenn der Antrag bis Ende September gestellt ist. Der Gemeinderat muss
zudem klären, wer die Pflege der Ausgleichsflächen für die nächsten 25 Jahre übernimmt."""
PYTHON: Final = """def total(orders):
    sum = 0
    for order in orders:
        if order.paid = True:
            sum += order.amount
    return sum"""

SIMPLE: Final[dict[str, tuple[str, ...]]] = {
    "greeting": (
        "Hello!",
        "Hi, good morning :)",
        "Guten Morgen!",
        "Hallo, bist du da?",
        "Thanks, that was helpful.",
        "Danke dir, das war's für heute.",
        "Ok",
        "Super, vielen Dank!",
    ),
    "translation of a sentence": (
        "Translate into German: The meeting has been moved to Thursday at 3 pm.",
        "Please translate to English: Der Schlüssel liegt beim Pförtner.",
        "Übersetze ins Englische: Die Ware wird am Freitag geliefert.",
        "Wie sagt man 'Terminverschiebung' auf Englisch?",
        'What does "Feierabend" mean in English?',
        "Bitte ins Französische übersetzen: Wir haben Ihre Bestellung erhalten.",
    ),
    "correction": (
        "Correct the spelling: I recieved you're letter yesterday.",
        "Fix the typos in this sentence: Ther was no bodie in the offise.",
        "Korrigiere bitte: Ich habe das Packet gestern abgehohlt.",
        "Ist hier ein Komma richtig: Ich hoffe, dass es dir gut geht?",
        "Check the grammar: He don't has any time tomorrow.",
        "Bitte Rechtschreibung prüfen: Der Rytmus der Maschiene stimmt nicht.",
    ),
    "rewriting of a sentence": (
        "Make this more polite: Send me the invoice now.",
        "Rephrase: We can't deliver before Monday because the truck is broken.",
        "Formuliere freundlicher: Sie haben die Rechnung immer noch nicht bezahlt.",
        "Kürze den Satz: Aufgrund der Tatsache, dass es regnet, findet das Fest in der Halle statt.",
        "Rewrite in the passive voice: The committee approved the budget.",
        "Schreib das in der Sie-Form: Kannst du mir bitte die Datei schicken?",
    ),
    "fact": (
        "What is the capital of Portugal?",
        "Who painted the Mona Lisa?",
        "Wie viele Bundesländer hat Deutschland?",
        "Wann fiel die Berliner Mauer?",
        "What does the abbreviation HVAC stand for?",
        "Wie heißt die Hauptstadt von Kanada?",
    ),
    "sorting into classes": (
        "Is this review positive or negative? 'The chair wobbles and nobody answers my mails.'",
        "Classify as spam or not spam: You have won a new phone, click here.",
        "Ist diese Mail dringend, ja oder nein? 'Der Server ist seit heute früh nicht erreichbar.'",
        "Ordne zu, Vertrieb oder Technik: 'Meine Anlage zeigt Fehler E4.'",
        "Which language is this? 'Onde fica a estação?'",
        "Stimmung positiv, neutral oder negativ: 'Lieferung kam pünktlich, alles gut.'",
    ),
    "title": (
        "Give me a subject line for a mail that invites to the summer party.",
        "Suggest a title for a blog post about bicycle repair.",
        "Betreff für eine Mail, die an die Inventur erinnert?",
        "Finde eine Überschrift für einen Aushang zum Winterdienst.",
        "Title for this chat: printer on the third floor does not print",
        "Nenne einen kurzen Titel für unser Protokoll vom Montag.",
    ),
    "word": (
        "Synonym for 'robust'?",
        "Another word for 'to postpone'?",
        "Was ist ein anderes Wort für 'Vorgesetzter'?",
        "Plural von 'Status'?",
        "How do you spell 'accommodation'?",
        "Der, die oder das Laptop?",
    ),
    "changing a list": (
        "Sort alphabetically: pear, apple, fig, cherry",
        "Put these names into a comma separated list: Anna\nBen\nClara",
        "Mach daraus eine Aufzählung: Schrauben, Dübel, Bohrer, Wasserwaage",
        "Sortiere nach Datum: 3. Mai, 12. April, 30. April",
        "Write in capital letters: danger, high voltage",
        "Extract the e-mail address: Please write to Mr Keller, keller@example.com, by Friday.",
    ),
    "short message": (
        "Write a two-line out-of-office reply for next week.",
        "Write a birthday wish for a colleague, one sentence.",
        "Schreib eine kurze Abwesenheitsnotiz bis zum 15. August.",
        "Ein Satz als Dank für die gute Zusammenarbeit, bitte.",
        "Draft a short thank-you note to the cleaning team.",
        "Kurze SMS: Ich komme zehn Minuten später.",
    ),
}

HARD: Final[dict[str, tuple[str, ...]]] = {
    "arithmetic word problem": (
        "A tank holds 480 litres and loses 3 litres an hour. After how many hours is it a quarter full?",
        "Three painters need 8 days for a hall. How long do five need, if two of them work half as fast?",
        "Ein Zug fährt um 8:15 Uhr mit 90 km/h los, ein zweiter um 8:45 Uhr mit 120 km/h. Wann holt er ihn ein?",
        "Ein Kredit von 20.000 Euro zu 4,5 Prozent läuft fünf Jahre. Wie hoch ist die Monatsrate?",
        "If I buy at 12.40 with 19% tax and sell with 30% margin, what is my net price?",
        "Wie viele Fliesen von 30 x 60 cm brauche ich für 14 Quadratmeter mit 8 % Verschnitt?",
    ),
    "code": (
        f"Why does this not run?\n\n```python\n{PYTHON}\n```",
        f"Find the mistake:\n{PYTHON}",
        "Write a Python function that merges overlapping intervals.",
        "Schreibe eine SQL-Abfrage, die je Kunde die letzte Bestellung liefert.",
        "What is wrong with SELECT name, count(*) FROM orders WHERE total > 5?",
        "Wie lese ich in Bash eine CSV-Datei zeilenweise ein und überspringe die Kopfzeile?",
        "Regex for German postal codes and IBAN, please.",
        "Translate this to Rust: def f(xs): return [x * 2 for x in xs if x > 0]",
    ),
    "long summary": (
        f"Summarize this report for the board in five points:\n\n{REPORT}",
        f"{REPORT}\n\nWhat has to be decided by August, and by whom?",
        f"Fasse zusammen und nenne die Risiken jeder Variante:\n\n{BERICHT}",
        f"{BERICHT}\n\nSchreibe daraus eine Pressemitteilung.",
        f"Translate into German:\n\n{REPORT}",
        f"Übersetze ins Englische:\n\n{BERICHT}",
    ),
    "law, tax and health": (
        "Can my landlord keep the deposit because of scratches on the floor?",
        "Is a verbal employment contract valid in Germany?",
        "Darf der Arbeitgeber Urlaub nachträglich streichen?",
        "Wann verjährt eine Forderung aus einem Werkvertrag?",
        "Do I have to charge VAT to a customer in Switzerland?",
        "Muss ich eine private Photovoltaikanlage in der Steuererklärung angeben?",
        "Can I take ibuprofen together with blood thinners?",
        "Welche Pflichten habe ich nach der DSGVO bei einer Datenpanne?",
    ),
    "reasoning": (
        "Anna is older than Ben, Ben is younger than Clara, and Clara is not the oldest. Who is the oldest?",
        "You have two ropes that each burn for an hour, unevenly. How do you measure 45 minutes?",
        "Alle Blurge sind Zarks, manche Zarks sind Mips. Folgt daraus, dass manche Blurge Mips sind?",
        "Ein Bauer muss Wolf, Ziege und Kohl über den Fluss bringen. Wie geht er vor?",
        "Prove that the square root of 2 is irrational.",
        "Warum gibt es unendlich viele Primzahlen?",
        "Is this argument valid? If it rains the street is wet. The street is wet. So it rained.",
        "Was ist der Denkfehler beim Ziegenproblem?",
    ),
    "plan": (
        "Make a marketing plan for our new coffee shop.",
        "Plan the move of our office with 40 desks over one weekend.",
        "Erstelle einen Einarbeitungsplan für einen neuen Elektriker.",
        "Wie führen wir in einer Firma mit 60 Leuten Schichtarbeit ein?",
        "Draft an agenda and a timeline for migrating our mail server.",
        "Entwirf ein Konzept für die Nachfolge in einem Familienbetrieb.",
    ),
    "long writing": (
        "Write an essay of 1,000 words on remote work.",
        "Write a short story about a lighthouse keeper who finds a letter.",
        "Schreibe eine Stellenanzeige für eine Buchhalterin in Teilzeit.",
        "Verfasse eine Rede zum 50-jährigen Firmenjubiläum.",
        "Write a complaint to the airline about my cancelled flight and claim compensation.",
        "Schreibe ein Angebot für die Wartung von 12 Aufzügen mit Leistungsbeschreibung.",
    ),
    "analysis": (
        "Compare leasing and buying a delivery van for a small bakery.",
        "What are the pros and cons of a four-day week for a machine shop?",
        "Vergleiche Wärmepumpe und Pelletheizung für ein Haus von 1965.",
        "Welche Risiken hat es, nur einen Lieferanten zu haben?",
        "Why did our conversion rate drop although traffic went up?",
        "Analysiere die Stärken und Schwächen dieses Geschäftsmodells: Mietwerkzeug per App.",
        "Explain how public key encryption works to an apprentice.",
        "Erkläre den Unterschied zwischen Umsatz, Gewinn und Liquidität an einem Beispiel.",
    ),
    "short and yet hard": (
        "Is my contract valid?",
        "SWOT of a bakery",
        "Businessplan für ein Café",
        "Steuer beim Minijob?",
        "Solve x^2 - 5x + 6 = 0",
        "Prove Pythagoras.",
        "Bubblesort in C",
        "Lohnt sich Solar für uns?",
        "347 * 28 - 15%",
        "Wie viel ist 17 % von 2.340?",
    ),
    # What a rule by words is likely to get wrong.
    "hard, in the words of a small task": (
        "Hello, can you check whether my notice of termination is valid?",
        "Hi, I need a strategy for entering the Polish market.",
        "Hallo, kannst du prüfen, ob die Klausel im Mietvertrag wirksam ist?",
        "Guten Morgen, wie berechne ich den Deckungsbeitrag für drei Produkte?",
        "Is it correct that I have to pay tax on a company bike?",
        "What sort of insurance does a joiner's workshop need?",
        "Darf der Chef den Lohn kürzen, wenn ich krank bin?",
        "Who holds the title to the goods until they are paid?",
        "Am I subject to VAT as a part-time translator?",
        "Sortieren mit Quicksort oder Mergesort: was ist für fast sortierte Daten besser?",
        "Correct my reasoning: all primes are odd, 2 is a prime, so 2 is odd.",
        "Rewrite our refund policy so that it complies with consumer law.",
        "Formuliere eine Klausel zur Vertragsstrafe bei Lieferverzug.",
        "Translate this requirement into a test plan: the lift stops within 2 cm of the floor.",
        "Thanks. Now work out the net present value at 6% over ten years.",
        "Danke! Und was heißt das für unsere Kündigungsfrist?",
    ),
}

_ASKED: Final = "What is the torque for an M8 screw of class 8.8?"
_TALK: Final = [
    {"role": "user", "content": _ASKED},
    {"role": "assistant", "content": "About 25 Nm, dry. Use a torque wrench."},
]
_WEATHER: Final = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
_FORMAT: Final = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}


def _after(turns: int, text: str) -> dict[str, Any]:
    return {"messages": [*_TALK * turns, {"role": "user", "content": text}]}


def _one(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


# Whole requests whose difficulty is not in the last message.
REQUESTS: Final[dict[str, tuple[bool, tuple[dict[str, Any], ...]]]] = {
    "second turn": (
        True,
        (
            _after(1, "Thanks!"),
            _after(1, "Danke."),
            _after(1, "Translate your answer into German."),
            _after(1, "Bitte auf Deutsch."),
        ),
    ),
    "long conversation": (
        False,
        (
            _after(8, "And for M10?"),
            _after(9, "Und mit Öl?"),
            _after(12, "Why?"),
            _after(7, "Fasse alles zusammen."),
        ),
    ),
    "tools": (
        False,
        (
            _one("Weather in Ulm?", tools=[_WEATHER]),
            _one("Regnet es?", tools=[_WEATHER]),
        ),
    ),
    "structured answer": (
        False,
        (
            _one("Name, street, town: Eva Roth, Am See 4, Lindau", response_format=_FORMAT),
            _one("Extract the date: on 3 May we met", response_format=_FORMAT),
        ),
    ),
    "long answer": (
        False,
        (
            _one("Continue.", max_tokens=6000),
            _one("Weiter.", max_tokens=8000),
        ),
    ),
}
