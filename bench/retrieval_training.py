"""Facts of other talks: what fusion was tuned on. No sentence, name or form of question is one of ``retrieval_corpus``.

The benchmark's own questions are never looked at when a weight is chosen; these are (``bench_fusion``).
"""

import random
from collections.abc import Iterator, Sequence

from bench.retrieval_corpus import Fact

PARAPHRASES: Sequence[tuple[str, str]] = (
    ("The lift has been out of order since Tuesday.", "Why does everybody take the stairs?"),
    ("I put too much chili into the soup and nobody could eat it.", "What spoiled the meal?"),
    ("The council is going to plant oaks along the canal.", "What kind of greenery will grow beside the water?"),
    ("Her suitcase ended up in another city.", "What happened to the passenger's luggage?"),
    ("The old clock in the hall loses four minutes a day.", "Which timepiece runs slow?"),
    ("They had to postpone the wedding because of the flood.", "Why did the couple not marry on the planned date?"),
    ("A fox got into the shed and killed the hens.", "What animal attacked the poultry?"),
    ("The dentist advised me to use a softer brush.", "What should I clean my teeth with?"),
    ("You can borrow a helmet at the front desk.", "Where is head protection lent out?"),
    ("The choir sings without a conductor this year.", "Who is absent from the performances?"),
    ("The glacier has shrunk by half within my lifetime.", "How much of the ice has been lost?"),
    ("Because the road was icy the bus arrived an hour late.", "What delayed the coach?"),
    ("My brother repairs shoes in a small shop near the harbour.", "What does the sibling do for a living?"),
    ("The novel was written in prison.", "Where did the author produce the book?"),
    ("Please wash the lettuce twice, there is sand in it.", "Why must the salad be rinsed thoroughly?"),
    ("The telescope cannot be used while the moon is full.", "When is stargazing with the instrument impossible?"),
    ("They cut the electricity because nobody had paid the bill.", "Why did the lights go off?"),
    ("The company lets its staff work from home on Fridays.", "On which day may employees stay away?"),
    ("A kind stranger carried my groceries up the hill.", "Who helped with the shopping?"),
    ("The orchestra bought a harp with the donation.", "What was the gift of money spent on?"),
    ("The river froze and the children skated to school.", "How did the pupils travel in winter?"),
    ("The carpenter forgot to measure the door.", "What mistake did the craftsman make?"),
    ("We never sell the wine before it is five years old.", "How long must the drink mature?"),
    ("The nurse gave the boy a sticker after the injection.", "What reward did the child receive?"),
    ("The painting turned out to be a copy.", "Was the artwork genuine?"),
    ("Our landlord does not allow dogs.", "Which animals are forbidden in the flat?"),
    ("The pilot landed in a field because the fuel ran out.", "Why did the aircraft come down early?"),
    ("It takes three days to hike around the lake.", "How long is the walk along the shore?"),
    ("She switched from law to medicine after a year.", "Which field did the student change to?"),
    ("The roof of the stadium can be closed within ten minutes.", "How quickly is the arena covered?"),
    ("The goats ate the roses.", "Who destroyed the flowers?"),
    ("He writes his letters with a fountain pen.", "Which tool is used for the correspondence?"),
    ("The ferry does not sail when the wind is too strong.", "In what weather is there no boat?"),
    ("They found a coin from Roman times under the kitchen.", "What ancient object was dug up?"),
    ("The film was so dull that half of the audience left.", "Why did spectators walk out?"),
    ("The apprentice earns less than the rent of his room.", "Why can the trainee not afford housing?"),
)
_NAMES = """
Adler Bianchi Cohen Dupont Eriksen Fischer Garcia Haddad Ivanov Johansson Keller Lindqvist Marino Nakamura Olsen
Pereira Qureshi Romano Schmidt Torres Ulrich Virtanen Wagner Xiang Young Zhang Aziz Bergman Conti Delgado
"""
NAMES = _NAMES.split()
CITIES = ["Vienna", "Dublin", "Seville", "Tampere", "Zagreb", "Utrecht", "Leeds", "Nantes"]
GOODS = ["piano", "lorry", "freezer", "ladder", "mirror", "tractor", "laptop", "guitar", "boiler", "desk"]
TOPICS = ["optics", "grammar", "harvests", "taxes", "poetry", "bridges", "planets", "trade"]


def training_facts(draw: random.Random) -> Iterator[Fact]:
    """Yield facts of the same four kinds as the benchmark's."""
    for said, question in PARAPHRASES:
        yield Fact(said=said, question=question, slice="paraphrases")
    for name in NAMES:
        yield from _about(name, draw)


def _about(name: str, draw: random.Random) -> Iterator[Fact]:
    city, goods, topic = draw.choice(CITIES), draw.choice(GOODS), draw.choice(TOPICS)
    yield from (
        Fact(said=f"Last winter {name} moved to {city}.", question=f"Where does {name} live now?", slice="names"),
        Fact(
            said=f"We got the {goods} from {name}, who did not need it any more.",
            question=f"What did {name} give away?",
            slice="names",
        ),
        Fact(
            said=f"It was {name} who found the error in the chapter about {topic}.",
            question=f"Which mistake was noticed by {name}?",
            slice="names",
        ),
        Fact(
            said=f"{name} stands in for the director while she is away.",
            question=f"Who does {name} replace?",
            slice="names",
        ),
        Fact(said=f"Please send {name} the contract.", question=f"What should {name} receive?", slice="names"),
        Fact(said=f"To {city} {name} would rather go by train.", question=f"How will {name} travel?", slice="names"),
    )
    room, invoice, weight = draw.randrange(100, 999), draw.randrange(10_000, 99_999), draw.randrange(20, 90)
    yield from (
        Fact(
            said=f"The laboratory of {name} is in room {room} of the new building.",
            question=f"In which room is the laboratory of {name}?",
            slice="numbers",
        ),
        Fact(
            said=f"The crate weighs {weight} kilos and belongs to invoice {invoice}.",
            question=f"How heavy is the delivery of invoice {invoice}?",
            slice="numbers",
        ),
        Fact(
            before=f"Then there is the complaint of the {name} brothers.",
            said=f"They want their money back by the {draw.randrange(1, 28)} of May.",
            question=f"By when do the {name} brothers want to be paid?",
            slice="context",
        ),
    )
