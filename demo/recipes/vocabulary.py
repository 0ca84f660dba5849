"""The words of the training grammar, by what they are; entries may hold slots of other lists in braces."""


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.replace("\n", " ").split(",") if item.strip())


WORDS: dict[str, tuple[str, ...]] = {
    "person": _items(
        """Anna, Daniel, Maria, Peter, Sarah, Thomas, Laura, James, Emma, Victor, Julia, Martin, Helen, Oscar, Nina,
        Robert"""
    ),
    "team": _items(
        """finance team, design team, sales team, support team, engineering team, marketing group, research group,
        legal department, operations team, security team, data team, product team"""
    ),
    "day": _items("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": _items("January, February, March, April, May, June, July, August, September, October, November, December"),
    "digit": _items("zero, one, two, three, four, five, six, seven, eight, nine"),
    "unit_digit": _items("one, two, three, four, five, six, seven, eight, nine"),
    "small": _items(
        """two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen,
        sixteen, seventeen, eighteen, nineteen, twenty"""
    ),
    "tens": _items("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety"),
    "number": _items(
        """{small}, {small}, {tens}, {tens}, {tens} {unit_digit}, one hundred, {small} hundred, one hundred and
        {tens}, {small} thousand"""
    ),
    "ordinal": _items(
        """first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth, eleventh, twelfth, fifteenth,
        eighteenth, twentieth, thirtieth"""
    ),
    "date": _items("the {ordinal} of {month}, {day}, next {day}, {day} the {ordinal} of {month}, the end of {month}"),
    "hour": _items("one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve"),
    "time": _items("{hour} o'clock, half past {hour}"),
    "when": _items(
        """today, tomorrow, this week, next week, last week, this month, last month, on {day}, in {month}, this
        morning, this afternoon, last {day}, next {month}, in {small} days, every {day}, again, at {time}, on
        {date}, before the end of {month}, now"""
    ),
    "duration": _items("{small} minutes, {small} hours, {small} days, {small} weeks, {small} months"),
    "money": _items("{number} dollars, {small} thousand dollars, {tens} thousand dollars"),
    "thing": _items(
        """budget, contract, report, website, database, release, invoice, schedule, warehouse, network, mobile app,
        training plan, customer survey, search engine, payment system, hiring plan, backup server, marketing
        campaign, annual review, project plan, new office, delivery truck, power supply, solar panel, battery,
        printer, laptop, password, account, subscription, order, refund, package, phone line, launch, deadline,
        meeting, project, server, app, supplier, paper, security review, message"""
    ),
    "adj": _items(
        """late, ready, broken, expensive, simple, urgent, important, slow, fast, reliable, difficult, complete,
        missing, secure, popular, stable, successful, risky, excellent, confusing, small, large, old, new, clear,
        damaged, safe, hot, helpful, great, good"""
    ),
    "very": _items("very, too, still, almost, already, not"),
    "verb": _items(
        """review, approve, update, test, finish, cancel, fix, replace, discuss, improve, deliver, explain, prepare,
        check, move, design, share, publish, measure, upgrade, start, send, use"""
    ),
    "verbed": _items(
        """reviewed, approved, updated, tested, finished, cancelled, fixed, replaced, discussed, improved, delivered,
        explained, prepared, checked, moved, designed, shared, published, measured, upgraded, used"""
    ),
    "did": _items(
        """reviewed, approved, tested, finished, cancelled, fixed, replaced, discussed, ordered, paid for, called,
        forgot"""
    ),
    "reason": _items(
        """the supplier was late, the test failed, the customer complained, the weather was bad, we lost power, the
        price went up, nobody was available, the server crashed, the {thing} was too {adj}, the plan changed, it
        rained all week, the key was lost, customers want the new {thing}, the {thing} is {adj}, the {thing} will
        take {duration}, the hotel in {city} was too small, the database crashed"""
    ),
    "city": _items("London, Paris, Berlin, Nairobi, Toronto, Chicago, Madrid, Tokyo, Sydney, Dallas"),
    "place": _items(
        """{city}, {city}, the main office, the {ordinal} floor, the meeting room, the library, the hospital, the
        school, the station, the airport, the hotel, the laboratory, the warehouse, your house"""
    ),
    "feel": _items("worried, happy, afraid, tired, confused, angry, relieved, sad, hopeful, safe, sorry"),
    "family": _items(
        """mother, father, sister, brother, daughter, son, neighbour, teacher, friend, uncle, aunt, doctor, driver"""
    ),
    "science": _items(
        """photosynthesis, gravity, evolution, electricity, the water cycle, the immune system, machine learning, the
        solar system, plate tectonics, climate change, probability, the nervous system, chemical energy, magnetic
        fields, human memory, genetics"""
    ),
    "noun2": _items(
        """light, heat, water, carbon dioxide, oxygen, energy, pressure, temperature, sugar, cells, neurons,
        particles, planets, stars, data, patterns, rocks, plants, animals, bacteria, signals, waves, leaves, the
        sun, the air, the ground, red light, blue light, green light, a plant, a tree"""
    ),
    "sverb": _items(
        """turns into, depends on, produces, absorbs, moves through, reacts with, is made of, is stored in, is
        measured by, slows down, releases, protects, is absorbed by"""
    ),
    "sverbs": _items(
        """turn into, depend on, produce, absorb, move through, release, need, are stored in, do not absorb"""
    ),
    "unit": _items("degrees, percent"),
    "colour": _items("red, blue, green"),
    "people": _items("people, customers"),
}
"""Lists by slot name."""
