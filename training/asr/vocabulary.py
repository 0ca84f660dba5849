"""The words of the wide grammar, by what they are; entries may hold slots of other lists in braces."""


def items(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(item.strip() for item in text.replace("\n", " ").split(",") if item.strip())


WORDS: dict[str, tuple[str, ...]] = {
    "person": items(
        """Anna, Daniel, Maria, Peter, Sarah, Thomas, Laura, James, Emma, Victor, Julia, Martin, Helen, Oscar, Nina,
        Robert, David, Alice, Kevin, Grace, Samuel, Linda, Ahmed, Fatima, Carlos, Elena, Simon, Rachel, George,
        Irene"""
    ),
    "team": items(
        """finance team, design team, sales team, support team, engineering team, marketing group, research group,
        legal department, operations team, security team, data team, product team, management, board, night shift,
        customer service, quality team, emergency team"""
    ),
    "day": items("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": items("January, February, March, April, May, June, July, August, September, October, November, December"),
    "season": items("spring, summer, autumn, winter"),
    "digit": items("zero, one, two, three, four, five, six, seven, eight, nine"),
    "unit_digit": items("one, two, three, four, five, six, seven, eight, nine"),
    "small": items(
        """two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen,
        sixteen, seventeen, eighteen, nineteen, twenty"""
    ),
    "tens": items("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety"),
    "number": items(
        """{small}, {small}, {tens}, {tens}, {tens} {unit_digit}, one hundred, {small} hundred, one hundred and
        {tens}, {small} thousand"""
    ),
    "ordinal": items(
        """first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth, eleventh, twelfth, fifteenth,
        eighteenth, twentieth, thirtieth"""
    ),
    "date": items("the {ordinal} of {month}, {day}, next {day}, {day} the {ordinal} of {month}, the end of {month}"),
    "hour": items("one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve"),
    "time": items("{hour} o'clock, half past {hour}, {hour} thirty, a quarter past {hour}, noon, midnight"),
    "when": items(
        """today, tomorrow, yesterday, this week, next week, last week, this month, last month, on {day}, in {month},
        this morning, this afternoon, tonight, last night, last {day}, next {month}, in {small} days, every {day},
        again, at {time}, on {date}, before the end of {month}, in the {season}, this year, now, soon, early, at
        the weekend"""
    ),
    "duration": items("{small} minutes, {small} hours, {small} days, {small} weeks, {number} seconds, {small} months"),
    "money": items(
        """{number} dollars, {small} thousand dollars, {tens} thousand dollars, {number} euros, {small} million
        dollars"""
    ),
    "thing": items(
        """budget, contract, report, website, database, release, invoice, schedule, warehouse, network, mobile app,
        training plan, customer survey, search engine, payment system, hiring plan, backup server, marketing
        campaign, annual review, project plan, new office, delivery truck, power supply, solar panel, battery,
        printer, laptop, password, account, subscription, order, refund, package, phone line, launch, deadline,
        meeting, project, product, server, app, camera, keyboard, screen, software, supplier, factory, price list,
        agenda, presentation, document, letter, form, policy, insurance, machine, engine, elevator, conference,
        workshop, newspaper, video, microphone, headset, cable, update, security review, test plan, prototype,
        proposal, strategy, roadmap, recording, transcript"""
    ),
    "adj": items(
        """late, ready, broken, expensive, simple, urgent, important, slow, fast, reliable, difficult, complete,
        missing, secure, popular, stable, successful, risky, excellent, confusing, cheap, small, large, old, new,
        clear, early, heavy, empty, full, dirty, clean, damaged, perfect, wrong, correct, strong, weak, useful,
        dangerous, safe, hot, cold, long, short, open, closed, modern, quiet, loud, helpful, great, big, good,
        bad, better, worse"""
    ),
    "very": items("very, too, still, almost, already, really, quite, not, never, always, much, a little"),
    "verb": items(
        """review, approve, update, test, finish, cancel, fix, replace, discuss, improve, deliver, explain, prepare,
        check, move, design, share, publish, measure, upgrade, open, close, start, stop, send, buy, sell, build,
        change, plan, write, read, order, return, repair, install, remove, copy, sign, support, use, keep, print,
        record, show, find"""
    ),
    "verbed": items(
        """reviewed, approved, updated, tested, finished, cancelled, fixed, replaced, discussed, improved, delivered,
        explained, prepared, checked, moved, designed, shared, published, measured, upgraded, opened, closed,
        started, stopped, sent, bought, sold, built, changed, planned, written, ordered, returned, repaired,
        installed, removed, copied, signed, used, printed, recorded, found, lost, paid, forgotten"""
    ),
    "did": items(
        """reviewed, approved, tested, finished, cancelled, fixed, replaced, discussed, changed, sent, bought, sold,
        built, opened, closed, started, wrote, saw, found, lost, called, asked for, paid for, ordered, forgot,
        expected, needed"""
    ),
    "reason": items(
        """the supplier was late, the test failed, the customer complained, the weather was bad, we lost power, the
        price went up, nobody was available, the server crashed, the {thing} was too {adj}, the plan changed, it
        rained all week, the key was lost, the {team} was busy, customers want a {adj} {thing}, we had no time,
        the road was closed, the {thing} is {adj}, {person} was ill, the train was late, the line was busy, the
        {thing} will take {duration}, the hotel in {city} was too {adj}, it costs too much"""
    ),
    "city": items(
        """London, Paris, Berlin, Nairobi, Toronto, Chicago, Madrid, Tokyo, Sydney, Dallas, Lagos, Mumbai, Vienna,
        Boston, Geneva, Cairo, Lisbon, Dublin, Oslo, Seattle"""
    ),
    "place": items(
        """{city}, {city}, the main office, the {ordinal} floor, the meeting room, the library, the hospital, the
        school, the station, the airport, the hotel, the market, the kitchen, the garden, the laboratory, the
        bridge, the church, the police station, the bus stop, the warehouse, the park, the village, the house, the
        office, the city centre"""
    ),
    "feel": items(
        """worried, happy, afraid, tired, confused, angry, relieved, sad, hopeful, safe, alone, nervous, ill, hungry,
        sorry"""
    ),
    "family": items(
        """mother, father, sister, brother, daughter, son, neighbour, teacher, friend, uncle, aunt, doctor, husband,
        wife, baby, grandmother, cousin, boss, driver, manager, nurse, lawyer"""
    ),
    "body": items("head, arm, leg, hand, back, eye, foot, knee, stomach, tooth, heart"),
    "science": items(
        """photosynthesis, gravity, evolution, electricity, the water cycle, the immune system, machine learning, the
        solar system, plate tectonics, climate change, probability, the nervous system, chemical energy, magnetic
        fields, human memory, genetics, ancient history, the industrial revolution, economics, statistics, world
        trade, modern art, philosophy, the human body, sound and hearing, geometry, the atom"""
    ),
    "noun2": items(
        """light, heat, water, carbon dioxide, oxygen, energy, pressure, temperature, sugar, cells, neurons,
        particles, planets, stars, data, patterns, rocks, plants, animals, bacteria, signals, waves, leaves, the
        sun, the moon, the air, the ground, the ocean, iron, gold, salt, sound, blood, muscles, memory, forests,
        rivers, mountains, insects, languages, markets, prices, trees, red light, blue light, green light, a
        plant, a lamp, a tree, electrons"""
    ),
    "sverb": items(
        """turns into, depends on, produces, absorbs, moves through, reacts with, is made of, is stored in, is
        measured by, slows down, releases, protects, grows in, is absorbed by, flows through, is part of,
        contains, attracts"""
    ),
    "sverbs": items(
        """turn into, depend on, produce, absorb, move through, react with, are made of, are stored in, are measured
        by, slow down, release, protect, grow in, need, use, live in, come from, stop, do not absorb, learn from"""
    ),
    "unit": items("degrees, percent, metres, kilometres, grams, litres, hours, seconds, years, watts, volts"),
    "food": items(
        """bread, coffee, tea, rice, milk, cheese, an apple, an orange, soup, chicken, fish, chocolate, eggs, butter,
        a sandwich, potatoes, tomatoes, cake, honey, juice, pepper, beans, lemon, onions"""
    ),
    "animal": items(
        """dog, cat, horse, bird, cow, sheep, elephant, lion, mouse, bee, rabbit, wolf, monkey, snake, goat, whale"""
    ),
    "object": items(
        """chair, table, window, door, book, bottle, bag, key, box, clock, coat, cup, knife, ladder, mirror, pencil,
        pillow, shirt, shoe, wall, wheel, bicycle, car, boat, bus, train, plane, roof, stone, rope, hammer,
        blanket, picture, lamp, ring, ticket, map, flag, bell, basket, guitar, piano, ball, candle, computer,
        telephone, radio, magazine"""
    ),
    "colour": items("red, blue, green, yellow, black, white, brown, grey, purple, pink, orange, silver"),
    "weather": items("sunny, cloudy, windy, rainy, cold, hot, foggy, dry, wet, warm"),
    "people": items(
        """people, customers, students, workers, children, patients, members, guests, visitors, engineers, teachers,
        men, women, volunteers, farmers, soldiers, passengers, players"""
    ),
    "act": items(
        """walk, run, sleep, sing, dance, swim, wait, drive, travel, cook, listen, speak, think, laugh, cry, fall,
        win, work, play, study, climb, rest, leave, arrive, answer, pay, help, talk, eat, drink, live, dream,
        fight, sit, stand, breathe"""
    ),
    "preposition": items(
        """in, on, at, under, over, near, behind, between, above, below, before, after, with, without, from, to, for,
        about, against, across, inside, outside, beside, along, around, through, until, during, since, by, of"""
    ),
    "adverb": items(
        """quickly, slowly, carefully, together, finally, suddenly, usually, often, sometimes, perhaps, exactly,
        probably, clearly, easily, badly, again, only, also, even, maybe, here, there, everywhere, outside,
        upstairs, already"""
    ),
    "opener": items(
        """well, so, yes, no, okay, right, of course, exactly, actually, sorry, excuse me, please, thank you, now,
        first, finally, today, I think, I know that, I see that, remember that, as you know, in other words, for
        example, however"""
    ),
    "plain": items(
        """ability, advice, age, area, army, art, birth, breath, business, captain, century, chance, circle, coast,
        company, country, court, crowd, culture, danger, death, desert, distance, dust, earth, edge, effect,
        evening, event, evidence, example, experience, experiment, face, fact, fear, field, fire, flight, flower,
        force, fruit, future, game, glass, government, grass, group, health, history, hope, idea, island, job,
        journey, justice, king, knowledge, lake, land, law, level, life, list, luck, lunch, metal, mind, mistake,
        moment, morning, music, name, nation, nature, neck, news, noise, north, opinion, page, paper, party, path,
        peace, pen, piece, pocket, poem, point, power, prison, problem, queen, question, rain, result, river,
        role, rule, sand, science, secret, shadow, ship, shoulder, silence, skin, sky, smile, smoke, snow, soil,
        song, south, space, speech, spirit, square, storm, story, street, struggle, surface, taste, theory,
        thought, tongue, top, town, truth, uncle, value, view, voice, war, wind, wing, wood, world, writer, youth"""
    ),
    "plainverb": items(
        """accept, add, agree, allow, become, begin, believe, belong, break, bring, burn, carry, catch, choose,
        collect, compare, consider, contain, continue, control, count, cover, create, cut, decide, describe,
        destroy, develop, discover, divide, draw, earn, enjoy, enter, escape, examine, expect, fail, fill, follow,
        forget, gather, get, give, guess, happen, hate, hear, hide, hold, hurt, imagine, include, join, jump,
        kill, know, learn, let, lie, lift, love, make, mean, meet, notice, offer, pass, point, prefer, press,
        promise, prove, pull, push, put, raise, reach, receive, refuse, remain, remember, repeat, rise, save, see,
        seem, serve, shake, shout, spend, spread, steal, suggest, suppose, take, teach, tell, throw, touch, try,
        turn, understand, visit, vote, want, warn, wash, watch, wear, wish, wonder"""
    ),
}
"""Lists by slot name."""
