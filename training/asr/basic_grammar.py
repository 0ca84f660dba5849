# ruff: noqa: E501 (a template is a line)
"""The small grammar: what the shipped model knows. Two busy cores can teach it; `vocabulary` and `templates` ask for more.

Same notation as `templates`.
"""

from training.asr.vocabulary import items

BASIC_WORDS: dict[str, tuple[str, ...]] = {
    "team": items("finance team, design team, sales team, support team, engineering team, marketing group, research group, legal department, operations team, security team, data team, product team"),
    "person": items("Anna, Daniel, Maria, Peter, Sarah, Thomas, Laura, James, Emma, Victor, Julia, Martin, Helen, Oscar, Nina, Robert"),
    "day": items("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": items("January, February, March, April, May, June, July, August, September, October, November, December"),
    "num": items("two, three, four, five, six, seven, eight, nine, ten, twelve, fifteen, twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety, one hundred"),
    "ordinal": items("first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth"),
    "thing": items("budget, contract, report, website, database, release, invoice, schedule, warehouse, network, mobile app, training plan, customer survey, search engine, payment system, hiring plan, backup server, marketing campaign, annual review, project plan, new office, delivery truck, power supply, solar panel, battery, printer, laptop, password, account, subscription, order, refund, package, phone line, launch"),
    "adj": items("late, ready, broken, expensive, simple, urgent, important, slow, fast, reliable, difficult, complete, missing, secure, popular, stable, successful, risky, excellent, confusing"),
    "verb": items("review, approve, update, test, finish, cancel, fix, replace, discuss, improve, deliver, explain, prepare, check, move, design, share, publish, measure, upgrade"),
    "verbed": items("reviewed, approved, updated, tested, finished, cancelled, fixed, replaced, discussed, improved, delivered, explained, prepared, checked, moved, designed, shared, published, measured, upgraded"),
    "reason": items("the supplier was late, the test failed, the customer complained, the weather was bad, we lost power, the price went up, nobody was available, the server crashed, the budget was too small, the plan changed, it rained all week, the key was lost, the {thing} is {adj}"),
    "science": items("photosynthesis, gravity, evolution, electricity, the water cycle, the immune system, machine learning, the solar system, plate tectonics, climate change, probability, the nervous system, chemical energy, magnetic fields, human memory, genetics"),
    "noun2": items("light, heat, water, carbon dioxide, oxygen, energy, pressure, temperature, sugar, cells, neurons, particles, planets, stars, data, patterns, rocks, plants, animals, bacteria, signals, waves"),
    "sverb": items("turns into, depends on, produces, absorbs, moves through, reacts with, is made of, is stored in, is measured by, slows down, releases, protects"),
    "place": items("London, Paris, Berlin, Nairobi, Toronto, Chicago, Madrid, Tokyo, Sydney, Dallas, the main office, the second floor, the meeting room, the library, the hospital, the school, the station, the airport"),
    "feel": items("worried, happy, afraid, tired, confused, angry, relieved, sad, hopeful, safe"),
    "family": items("mother, father, sister, brother, daughter, son, neighbour, teacher, friend, uncle, aunt, doctor"),
}  # fmt: skip
"""Lists by slot name."""

_MEETING = """
Good morning everyone, and welcome to the (weekly meeting|meeting about the {thing}).
Let us (start with|talk about|discuss) the {thing}[ and the {thing}].
The {team} will {verb} the {thing} (by|on|before) {day}.
{person} said that the {thing} is {adj}.
We need to {verb} the {thing}[ in {place}] before the end of {month}.
The {thing} was {verbed} on {day} by (the {team}|{person}).
I think the {thing} is [still ]{adj}, because {reason}.
Can (you|{person}) {verb} the {thing} and send it to {person}?
We decided to {verb} the {thing} next {month}[, because {reason}].
The (cost of|budget for) the {thing} is [about ]{num} thousand dollars.
It will take {num} (days|weeks) to {verb} the {thing}.
There are {num} people in the {team}.
{person} and {person} will meet in {place} on {day}.
The next step is to {verb} the {thing}.
{person}, please {verb} the {thing} (this week|on {day}|by {day}).
I agree with {person}, the {thing} must be {verbed}[ by {day}].
I do not agree[ with {person}], (the {thing} is too {adj}|because {reason}).
[{person}, ]what is the status of the {thing}?
The {thing} is {adj}, but the {thing} is {adj}.
Our goal is to {verb} {num} items every {day}.
Sales went (up|down) by {num} percent in {month}[, because {reason}].
The action item for {person} is to {verb} the {thing}[ by {day}].
I will {verb} (it|the {thing}) (on {day}|this week)[ with {person}].
We will {verb} it again in {num} weeks.
The [biggest ]risk is that {reason}.
The {team} has {num} open tasks and {num} of them are {adj}.
Let us move on to the next point.
Does anybody have a comment on the {thing}?
The meeting will end at {num} o'clock.
The new {thing} in {place} opens in {month}.
We moved the {thing} from {place} to {place}[, because {reason}].
When is the deadline for the {thing}?
The deadline for the {thing} is {day}, the {ordinal} of {month}.
Where will the launch of the {thing} be?
The launch of the {thing} will be in {place} on {day}.
{person} will {verb} the {thing}, and {person} will {verb} the {thing}.
Who will {verb} the {thing}?
Thank you {person}, that is very {adj}.
Yes, (that is right|I agree with {person}).
The next meeting is on {day} at {num} o'clock in {place}.
"""
_LECTURE = """
Today we will talk about {science}[ and {science}].
The {ordinal} topic of this lecture is {science}.
Welcome to the {ordinal} lecture about {science}.
{noun2} {sverb} {noun2}.
As you can see, {noun2} {sverb} {noun2} when the {noun2} is (high|low).
In the last lecture we learned about {science} and {science}.
Remember that {science} is not the same as {science}.
The exam will be on {day}, and it will cover {science}.
The exam is on {day}, the {ordinal} of {month}, at {num} o'clock.
[{person}, ]please read chapter {num} before next {day}.
Excuse me, when is the exam?
Excuse me, when is the (deadline|launch|meeting)?
Are there any questions about {science}?
That is a good question, {person}.
The answer is that {noun2} {sverb} {noun2}[, and {noun2} {sverb} {noun2}].
Excuse me, is it true that {noun2} {sverb} {noun2}?
{science} is important, because {noun2} {sverb} {noun2}.
On {day} we will measure the {noun2} in {place}.
"""
_CALL = """
Good (morning|afternoon), thank you for calling the support line[, my name is {person}].
Hello[ {person}], my name is {person}, how can I help you today?
My {thing} is {adj} and I would like a refund.
Hello, my name is {person}, and I ordered a {thing} {num} (days|weeks) ago.
I ordered a {thing} {num} days ago and it has not arrived.
The {thing} arrived on {day}, but it is {adj}.
Could you please (give|tell) me your order number?
Yes, the order number is {num} {num} {num}[ {num}].
Let me check that for you, one moment please.
I am sorry about (that|the {thing}), I will {verb} the {thing} right away.
You paid {num} dollars for the {thing} in {month}.
We will send a new {thing} to {place} on {day}.
Is there anything else I can help you with[, {person}]?
No, that is all, thank you very much[, {person}].
Thank you[ {person}], have a nice day, goodbye.
I would like a refund, because my {thing} is {adj}.
"""
_HELPLINE = """
I feel {feel} because my {family} is not at home.
My {family} told me to call you.
How old are you, and where do you live?
I am {num} years old and I live near {place}.
Are you in a safe place right now?
I have been {feel} since {day}.
We will send someone to {place} to help you.
Please tell me what happened on {day}.
My {family} was {feel} after the accident at {place}.
"""

BASIC_TEMPLATES: dict[str, tuple[str, ...]] = {
    "meeting": tuple(_MEETING.strip().splitlines()),
    "lecture": tuple(_LECTURE.strip().splitlines()),
    "call": tuple(_CALL.strip().splitlines()),
    "helpline": tuple(_HELPLINE.strip().splitlines()),
}
"""Templates by situation."""

BASIC_WEIGHTS = {"meeting": 0.46, "lecture": 0.21, "call": 0.22, "helpline": 0.11}
"""Share of each situation among the sentences."""
