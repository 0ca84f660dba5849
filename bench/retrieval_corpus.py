"""Recordings that never were, with questions whose answering moment is known."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.domain.transcript import Segment, Transcript

WORDS_PER_S = 2.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A sentence somebody says, and a question that it answers."""

    said: str
    before: str | None = None
    """What is said just before, without which the answer cannot be understood."""
    question: str
    slice: str


FactSource = Callable[[random.Random], Iterator[Fact]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and the moment that answers it; None: nobody said anything about it."""

    text: str
    slice: str
    job_id: str | None
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """One generated recording."""

    job_id: str
    transcript: Transcript


PARAPHRASES: Sequence[tuple[str, str]] = (
    ("We had to close the pool because the heater broke down.", "Why could nobody swim?"),
    ("My flight was cancelled, so I slept on a bench at the airport.", "Where did the traveller spend the night?"),
    ("The bakery on the corner stopped selling rye bread.", "Which loaf can no longer be bought?"),
    ("He twisted his ankle while carrying the boxes upstairs.", "How was the man injured?"),
    ("Green plants turn sunlight into sugar.", "How does vegetation make food from light?"),
    ("The roof leaks whenever there is a heavy storm.", "When does water come into the building?"),
    ("Our cat hides under the sofa when guests arrive.", "How does the pet react to visitors?"),
    ("The manager apologised and gave us the dinner for free.", "Who did not have to pay for the meal?"),
    ("The engine overheated on the motorway and the car would not start again.", "What went wrong with the vehicle?"),
    ("She learned the violin from her grandfather.", "Who taught the musician to play?"),
    ("The library will stay open until midnight before the tests.", "How late can students read during finals?"),
    ("Interest on the loan goes up in the second year.", "When does borrowing become more expensive?"),
    ("The vaccine has to be stored in a fridge.", "At what conditions must the medicine be kept?"),
    ("The neighbours complained about the loud music.", "Who was disturbed by the noise?"),
    ("The bridge was painted red so that ships can see it in fog.", "Why does the crossing have that colour?"),
    ("He quit his job to look after his mother.", "For what reason did the employee resign?"),
    ("The parcel was left in the rain and the book is ruined.", "How did the delivery get damaged?"),
    ("The choir needs two more low voices.", "What kind of singers are missing?"),
    ("You cannot log in because your password has expired.", "Why is access to the account blocked?"),
    ("The glacier has lost a third of its ice in twenty years.", "How much did the frozen river shrink?"),
    ("The children planted beans in the school yard.", "What did the pupils grow?"),
    ("The lift is out of order, please take the stairs.", "How do I get to the upper floors?"),
    ("The company moved its servers to a cheaper provider.", "Who hosts the computers now?"),
    ("The judge postponed the hearing because the witness was ill.", "Why was the trial delayed?"),
    ("Bees dance to show the others where the flowers are.", "How do insects tell each other about food?"),
    ("The sauce tastes better with a spoon of vinegar.", "What improves the flavour?"),
    ("Our tent was blown away on the first night.", "What happened to the campers' shelter?"),
    ("The museum asks visitors not to use flash.", "What is forbidden when taking pictures?"),
    ("The warranty does not cover a broken screen.", "Is a cracked display repaired without charge?"),
    ("The tide comes in faster than a person can walk.", "How quickly does the sea rise there?"),
    ("The old mill was turned into flats.", "What became of the former factory?"),
    ("He speaks four languages but writes only two.", "How many tongues can the man put on paper?"),
    ("The tomatoes died in the frost.", "Why was there no harvest?"),
    ("The bus drivers will stop working on Friday.", "When is the strike?"),
    ("You have to stir the paint before you use it.", "What must be done first when decorating?"),
    ("The battery lasts longer if you turn off the location service.", "How can the phone be used more hours?"),
    ("She forgot her keys and climbed in through the window.", "How did the woman enter her home?"),
    ("The volcano has been quiet for three hundred years.", "How long since the last eruption?"),
    ("The refund takes about two weeks to reach your account.", "When do I get my money back?"),
    ("The play was sold out within an hour.", "How fast did the theatre tickets go?"),
    ("Salt lowers the freezing point of water.", "Why does brine stay liquid in winter?"),
    ("The printer jams when the paper is damp.", "What makes the device stop?"),
    ("The doctor told him to give up coffee.", "What should the patient no longer drink?"),
    ("The village has no doctor since last spring.", "Where is medical help missing?"),
    ("The fence keeps the deer out of the vineyard.", "What protects the grapes?"),
    ("Light travels faster than sound, so we see the lightning first.", "Why is thunder heard later?"),
    ("The invoice was sent to the wrong department.", "Where did the bill go by mistake?"),
    ("The football match ended without a goal.", "What was the score of the game?"),
)
_NAMES = """
Abbott Becker Castillo Dimitrov Eklund Ferrari Gupta Hansen Ibrahim Jansen Kowalski Laurent Moreau Novak Okafor Petrov
Quinn Rossi Silva Tanaka Ueda Vargas Weber Xu Yilmaz Zeller Bauer Costa Duarte Endo
"""
_PLACES = "Lisbon Oslo Turin Ghent Malmo Bergen Graz Lyon Porto Basel Krakow Bruges Tartu Split Cork"
_THINGS = "printer bicycle oven camera heater lamp keyboard tent kettle drill scooter radio carpet mixer saddle"
_SUBJECTS = "membranes tariffs glaciers enzymes contracts sonnets vectors volcanoes mergers fungi comets verbs"
NAMES, PLACES, THINGS, SUBJECTS = (words.split() for words in (_NAMES, _PLACES, _THINGS, _SUBJECTS))
NAME_FORMS: Sequence[tuple[str, str]] = (
    ("Doctor {name} from {place} is going to give the lecture about {subject}.", "What will {name} talk about?"),
    ("Mister {name} will take over the office in {place} after the summer.", "Which branch will {name} lead?"),
    ("{name} broke an arm on the ski slope and stays at home.", "What injury does {name} have?"),
    ("Nobody but {name} knows the code of the safe.", "Which secret is only known to {name}?"),
    ("It was {name} who complained that the soup was cold.", "What did {name} not like?"),
    ("Since Tuesday {name} has been using my parking space.", "Where does {name} leave the car?"),
    ("We owe {name} an apology for the delay.", "Why must we say sorry to {name}?"),
    ("In {place}, {name} plays the organ every Sunday.", "Which instrument can {name} play?"),
)
"""What is said of somebody, and what is asked, in many forms: with two, the slice would measure two sentences."""
FILLERS = (
    "Good morning everybody and thank you for being here.",
    "Let me just find the right page.",
    "Can everybody hear me at the back?",
    "That is a good point, let us come back to it later.",
    "I will write that down.",
    "Are there any questions so far?",
    "As I said before, we have to be careful with the time.",
    "Sorry, could you repeat that please?",
    "Right, so where were we?",
    "I think that makes sense.",
    "We talked about this at some length last week.",
    "Okay, let us move on to the next point.",
    "It is a bit more complicated than that, but never mind.",
    "Some of you have asked me about it by mail.",
    "Just a moment, I have to look that up in the system.",
    "Does that answer your question?",
)
NEGATIVES = (
    "What is the capital of Mongolia?",
    "How do I bake a chocolate cake?",
    "Who won the tennis tournament in 1987?",
    "Which planet has the most moons?",
    "How deep is the Mariana trench?",
    "What is the best way to train a puppy?",
    "Who painted the ceiling of the chapel?",
    "How many strings does a harp have?",
    "When was the telephone invented?",
    "What does a surgeon wear in theatre?",
    "Which spices belong into a curry?",
    "How is cheese made from goat milk?",
    "What is the population of Brazil?",
    "How do submarines dive?",
    "Who wrote the national anthem?",
    "What is a black hole?",
    "How long do elephants live?",
    "What are the rules of chess?",
    "How do I tie a bow tie?",
    "Where do penguins breed?",
)


def make_talks(
    count: int, *, seed: int = 7, source: FactSource | None = None
) -> tuple[tuple[Talk, ...], tuple[Question, ...]]:
    """Return recordings of several speakers, and the questions about them, negatives included.

    ``source``: where the facts come from; None, the benchmark's own.
    """
    draw = random.Random(seed)
    facts = list((source or _facts)(draw))
    draw.shuffle(facts)
    dealt = [facts[place::count] for place in range(count)]
    made = [_talk(f"talk-{place:02d}", share, draw) for place, share in enumerate(dealt)]
    questions = [question for _, asked in made for question in asked]
    questions += [Question(text=text, slice="negatives", job_id=None, start_s=0, end_s=0) for text in NEGATIVES]
    return tuple(talk for talk, _ in made), tuple(questions)


def _facts(draw: random.Random) -> Iterator[Fact]:
    for said, question in PARAPHRASES:
        yield Fact(said=said, question=question, slice="paraphrases")
    for place, name in enumerate(NAMES):
        for said, question in (NAME_FORMS[place % len(NAME_FORMS)], NAME_FORMS[(place + 3) % len(NAME_FORMS)]):
            city, subject = draw.choice(PLACES), draw.choice(SUBJECTS)
            said_of = said.format(name=name, place=city, subject=subject)
            yield Fact(said=said_of, question=question.format(name=name), slice="names")
    for name in NAMES:
        number, price, thing = draw.randrange(1_000, 9_999), draw.randrange(20, 400), draw.choice(THINGS)
        said = f"The order number is {number}, for a {thing}, and you paid {price} euros."
        yield Fact(said=said, question=f"What was order {number} about?", slice="numbers")
        day, room = draw.randrange(1, 28), draw.randrange(100, 999)
        said = f"The meeting with the people of {name} is on the {day} of March in room {room}."
        yield Fact(said=said, question=f"In which room do we meet {name}?", slice="numbers")

    for name, thing in zip(NAMES, draw.choices(THINGS, k=len(NAMES)), strict=True):
        day = draw.randrange(1, 28)
        yield Fact(
            before=f"Now to the {thing} that the {name} family ordered.",
            said=f"It comes back from the workshop on the {day} of June.",
            question=f"When does the {name} family get the {thing}?",
            slice="context",
        )


def _talk(job_id: str, facts: Sequence[Fact], draw: random.Random) -> tuple[Talk, list[Question]]:
    clock, segments, questions = 0.5, list[Segment](), list[Question]()
    speakers = [f"SPEAKER_{number:02d}" for number in range(draw.choice((1, 2, 2, 3)))]
    speaker = speakers[0]
    for said, fact in _lines(facts, draw):
        goes_on = fact is not None and fact.before is not None
        speaker = draw.choice(speakers) if draw.random() < 0.35 and not goes_on else speaker
        end = clock + len(said.split()) / WORDS_PER_S
        segments.append(Segment(id=len(segments), start_s=clock, end_s=end, text=said, speaker=speaker, confidence=0.9))
        if fact is not None:
            questions.append(Question(text=fact.question, slice=fact.slice, job_id=job_id, start_s=clock, end_s=end))
        clock = end + draw.uniform(0.1, 1.2)
    return Talk(
        job_id=job_id, transcript=Transcript(language="en", duration_s=clock, segments=tuple(segments))
    ), questions


def _lines(facts: Sequence[Fact], draw: random.Random) -> Iterator[tuple[str, Fact | None]]:
    """Yield what is said, with two to five fillers around every fact."""
    for fact in facts:
        for _ in range(draw.randrange(2, 6)):
            yield draw.choice(FILLERS), None
        if fact.before:
            yield fact.before, None
        yield fact.said, fact
    yield draw.choice(FILLERS), None
