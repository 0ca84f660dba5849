# ruff: noqa: E501 (a template is a line)
"""Sentence templates of the wide grammar, by situation.

`{name}` is filled from `vocabulary.WORDS`, `[words]` is there half the time, `(a|b)` is one of its parts.
"""

MEETING = """
Good (morning|afternoon|evening) everyone, and welcome to the (weekly|monthly|project|annual) meeting [about the {thing}].
Let us (start|begin|continue|finish) with the {thing}.
Let us (talk about|discuss|look at|write down|move on to) the {thing} [and the {thing}] [for the {thing}].
Today we will (talk about|discuss|look at) the {thing}, the {thing} and the {thing}.
The {team} will {verb} the {thing} {when}.
[I think] the {team} (must|can|should|cannot|could|will not) {verb} the {thing} (by|before|after|until) {date}.
{person} said that the {thing} is {very} {adj}.
We need to {verb} the {adj} {thing} in {place} before {date}.
The {thing} was {verbed} {when} by the {team}.
The {team} has [already] {verbed} {number} {people} for the {thing}.
I think the {thing} is {very} {adj}, because {reason}.
I think the {adj} {thing} is the (problem|reason|answer|risk|best idea).
Can (you|we|they|{person}) {verb} the {thing} [and send it to {person}]?
We decided to {verb} the {thing} {when}[, because {reason}].
We decided to move the {thing} from {place} to {place}, because {reason}.
The cost of (the|a) [{adj}] {thing} is [about] {money}.
(A|The) {adj} {thing} (costs|cost) about {money}.
What is the (cost|price|status|risk|deadline|budget|reason) of the {thing} [{when}]?
The (budget|deadline|price|plan) for the {thing} is {money}.
The deadline for the {thing} is {date}.
When is the (deadline|launch|exam|meeting|review|conference) for the {thing}?
(Where|When|How) will the {thing} be {verbed}?
Where will the {thing} be?
The {thing} will be in {place} on {date}, and we expect {number} {people}.
We have (used|spent|saved|lost) {money} for the {thing} [so far].
So we have {money} for the {thing} and the {adj} {thing}.
It will take {duration} to {verb} the {thing}.
There are {number} {people} in the {team}.
{person} and {person} will meet in {place} on {date}.
The next step is to {verb} the {thing}.
{person}, please {verb} the {thing} {when} [and ask for a better price].
I [do not] agree with {person}, because {reason}.
I do not agree, the {thing} is too {adj}.
I know, but (we|you|they) can (start|finish|leave|begin) (early|soon|later|tomorrow|together).
What is the status of the {thing} {when}?
The {thing} is {very} {adj}, but the {thing} is {very} {adj}.
Our goal is to {verb} {number} items {when}.
Sales [of the {adj} {thing}] went (up|down) by {number} percent in {month}[, because {reason}].
The price of the {thing} went (up|down) by {number} percent {when}.
The (first|second|last|only) action item for {person} is to {verb} the {thing}.
{person} will {verb} the {thing}, and {person} will {verb} the {thing}.
I will {verb} the {thing} with {person}, and we will {verb} the {thing} {when}.
I will {verb} the {thing} {when} and send the answer to {person}.
We will {verb} it again in {duration}.
The (biggest|only|main|greatest) (risk|problem|question) is that {reason}.
The {team} has {number} (open|urgent|new|old) tasks [for the {thing}], and {small} of them are {adj}.
The {team} needs {number} (new|more) {people} before the {thing} in {month}.
The contract with the {thing} in {city} (ends|starts) in {month}[, and the price went up by {number} percent].
Yes, [that is right,] {reason}.
(Yes|No|Well|Okay), I am {feel} about (that|this|it) too.
That is (very|quite|not|really) {adj}.
That is a (good|great|bad|better|risky|simple) (plan|idea|point|question|reason|answer), [so] the {thing} is still {adj}.
We {verbed} the {thing} {when}, and the {thing} failed after {duration}.
{person} can help (me|us|you|them) with the {thing} {when}.
(Thank you|Thanks) {person}, that (is|was) very (helpful|clear|useful|kind).
The next [project] meeting is on {day} at {time} (on|in) {place}.
Does anybody have a (comment|question) (on|about) the {thing}?
The meeting will (start|end) at {time}.
The new {thing} in {place} opens in {month}.
Let us move on to the (next|last|first|second) point.
{person} {did} the {adj} {thing} {when}, because {reason}.
(Who|When) (will|can|should) {verb} the {thing} in {place}?
The {thing} that {person} {did} is {very} {adj}.
If the {thing} is {adj}, we (can|must|will|should) {verb} the {thing} {when}.
Thank you {person}, see you {when}.
Thank you, have a nice (day|week|weekend|evening) [everyone].
"""

LECTURE = """
Good (morning|afternoon|evening) everyone, and welcome to the {ordinal} lecture about {noun2} [and {noun2}].
Today we will (talk|learn) about {science} [and {science}].
The {ordinal} topic of this (lecture|course) is {science}.
In the (last|first|{ordinal}) lecture we learned about {noun2}, and today we will learn about {science}.
{noun2} {sverb} {noun2}.
{noun2} {sverbs} {noun2} [and {noun2}].
{noun2} {sverbs} {noun2} from {noun2}, {noun2} from {noun2} and {noun2} from {noun2}.
{science} is how {noun2} {sverbs} {noun2} [{preposition} {noun2}].
As you can see, {noun2} {sverb} {noun2} when the {noun2} is (high|low|hot|cold).
The {noun2} is {verbed} by the {colour} {noun2}, and the {noun2} is stored in {noun2}.
Remember that {science} is not the same as {science}.
Remember that (one|a|this|every) (large|small|{adj}) (tree|{animal}|plant|machine) produces enough {noun2} for {number} {people} every (year|day|week).
The first experiment was done in (seventeen|eighteen|nineteen|twenty) {tens} {unit_digit} by a {family} who put {noun2} under {noun2}.
(He|She|They|We) saw that {noun2} {sverbs} {noun2} in the (light|dark|water|sun), but not in the (dark|light|air|cold).
(Excuse me|Sorry|Professor), does {science} depend on the {noun2}?
Yes, {science} is {adj} when the {noun2} is (low|high), and it is (fastest|slowest|strongest) at about {number} {unit}.
When the {noun2} is (above|below) {number} {unit}, {science} stops, because the {noun2} are {adj}.
Can {noun2} (use|produce|absorb|stop) (every|any|some) (colour|kind|part) of {noun2}?
No, {person}, {noun2} {sverbs} {noun2} and {noun2}, but they do not absorb (much|any) {noun2}.
This is the reason why {noun2} (are|is) {colour}.
So is a {noun2} (slower|faster|better|larger|smaller) under a {colour} (lamp|light|{object})?
Exactly, under a {colour} {object} the {noun2} produces (less|more) {noun2} and (less|more) {noun2}.
The (exam|test) [for this course] will be on {date}, [at {time},] and it will cover {science}.
When is the (exam|test|next lecture) for this course?
The exam for this course is on {day}, the {ordinal} of {month}, at {time}.
The exam will have {number} questions, and you will have {number} minutes.
Please read chapter {number} before (next {day}|{date}|{day}).
On {day} we will measure the {noun2} from {noun2} in the laboratory on the {ordinal} floor.
Are there any (other|more) questions about {science} [or the exam]?
That is a [very] good question, {person}.
The answer is that {noun2} {sverb} {noun2}.
No, that was very clear, thank you [for the answer].
Thank you for your questions, and see you in {place} on {day}.
The {noun2} of the {object} is about {number} {unit}.
{noun2} and {noun2} are {very} {adj} {preposition} {place}.
(Every|No|Each) {animal} needs {noun2} to {act} {preposition} the {noun2}.
In {month} the {noun2} {sverb} the {noun2}, so the {animal} can {act}.
Scientists measured the {noun2} for {number} years [in {city}].
"""

CALL = """
Good (morning|afternoon|evening), thank you for calling the support line, my name is {person}.
Hello [{person}], my name is {person}, how can I help you {when}?
How can I help you (today|now|this afternoon|this morning)?
Hello {person}, my name is {person}, and I ordered a {thing} {duration} ago.
The {thing} arrived {when}, but it is {adj}.
My {thing} is {very} {adj}, and I would like a (refund|new one|better {thing}).
I ordered a {thing} {duration} ago, and it has not arrived.
I am [very] sorry about the {adj} {thing}, {person}.
Could you please (tell|give|send) me your (order number|phone number|address|name|password)?
Yes, (my|the) (order|phone|account) number is {digit} {digit} {digit} [{digit}] [{digit}].
[Thank you,] let me check the (order|account|number) {digit} {digit} {digit} {digit} for you.
Let me check that for you, one moment please.
I see that you paid {money} for the {thing} in {month}.
I am sorry about that, I will {verb} the {thing} right away.
The {thing} is very {adj}, and the {thing} does not (move|work|open|close|start|stop).
Please do not use the {thing} again, because it is not (safe|ready|clean|yours).
We can send you a new {thing}, or we can give you a refund.
I need the {thing} for my (office|house|family|work|school), so please send me a {adj} {thing}.
The new {thing} will leave our warehouse in {city} {when}.
It will arrive at your (house|office|school) on {day} before {time}.
I am not at (home|work|school) on {day}, can you send it to {place}?
Of course, I will send the {thing} to {place} [in {city}].
Thank you, and what should I do with the {adj} {thing}?
The (driver|{family}) will take the {adj} {thing} with (him|her|them), and you do not need to pay anything.
There is one other problem, I have (forgotten|lost|changed) the {thing} for my {thing}.
I will send a new {thing} to your (phone|house|office|account) in {small} minutes.
That is (great|good|fine|perfect), I have the (message|answer|number|letter) now.
Is there anything else [that] I can (help you with|do for you), {person}?
No, that is all, (thank you very much|you were very helpful|thanks), [{person}].
Thank you for your (call|help|time|answer), {person}, and have a nice (day|week|weekend|evening).
Thank you, [have a nice day,] goodbye.
Yes, that is right.
I (called|wrote|paid|waited) {duration} ago, but nobody (answered|helped me|called back).
The {thing} {when} was {money}, which is too {adj}.
Please turn the {thing} off, wait {duration}, and turn it on again.
Is the {colour} light on the {thing} on or off?
"""

HELPLINE = """
I (feel|am|was) [{very}] {feel} because my {family} (is|was) not at (home|work|school).
My {family} (told|asked|wanted|helped) me to call you {when}.
How old (are you|is your {family}), and where do you live?
I am {number} years old, and I live near {place}.
(Are you|Is your {family}) in a safe place right now?
I have been {feel} since {day}.
We will send (someone|a {family}|help) to {place} {when}.
Please tell me what happened {when}.
My {family} was {feel} after the accident at {place}.
My {family} hurt (his|her) {body} {when}, and now (he|she) cannot {act}.
(There is|I can see) a {colour} {object} (in front of|behind|near|under|next to) the {object}.
Do you want to (speak|talk) to a {family}?
I (cannot|can|want to|do not want to) {act} {when}.
You are not alone, and you can call us {when}.
Did your {family} (go|come|walk|drive) to {place} {when}?
The {family} gave me {food} and {food}.
Nobody at {place} knows that I am {feel}.
"""

EVERYDAY = """
I (bought|ate|want|need|like|found) {food}, {food} and {food} {when}.
The {colour} {object} is {preposition} the {adj} {object}.
My {family} has a {colour} {animal} and {small} {adj} {object}.
The weather in {city} is {weather} {when}.
It was {weather} and {weather} {when}, so we could not {act}.
The {animal} and the {animal} {act} {preposition} the {object} {preposition} {place}.
(He|She|They|We|You) (will|can|must|should|might|would) {plainverb} the {plain} of the {plain} [{adverb}].
{opener}, the {plain} {preposition} the {plain} is {very} {adj}.
(This|That|The|Every|Our|Your|My|Her|His|Their) {adj} {plain} (was|is|will be) {adverb} {verbed} {when}.
(Why|How|When|Where) (did|do|will|can|should) {people} {plainverb} [the] {plain} {preposition} {place}?
If you {plainverb} the {plain}, the {people} will {plainverb} {adverb}.
I {plainverb} that the {plain} and the {object} {act} {adverb}.
There (is|was) (some|no|a lot of|more|enough) {plain} {preposition} the {object}.
(Some|Many|Most|All|Few) {people} {plainverb} their {plain} {preposition} the {season}.
{number} {people} {act} {adverb} {preposition} the {plain}.
{opener}, {opener}, {person} {did} the {plain} {preposition} {day}.
{plain}, {object}, {adj}, {plainverb} {preposition} {adverb}.
{adj} {plain} {preposition} {colour} {object}, {number} {unit}.
{adverb} {plainverb} {food} {preposition} {people} {act} {plain}.
{verbed} {thing} {preposition} {adj} {plain} {when}.
{team} {did} {plain}, {feel} {people} {act} {preposition} {object}.
"""

TEMPLATES: dict[str, tuple[str, ...]] = {
    name: tuple(line for line in block.strip().splitlines() if line)
    for name, block in (
        ("meeting", MEETING),
        ("lecture", LECTURE),
        ("call", CALL),
        ("helpline", HELPLINE),
        ("everyday", EVERYDAY),
    )
}
"""Templates by situation."""

WEIGHTS = {"meeting": 0.33, "lecture": 0.18, "call": 0.17, "helpline": 0.09, "everyday": 0.23}
"""Share of each situation among the sentences. `everyday` is half nonsense on purpose: its words cannot be guessed, so
they must be heard."""
