"""Sentences outside the grammar, written for this project: how far the recognizer is from open vocabulary."""

OPEN_SENTENCES = (
    "My bicycle was stolen outside the swimming pool, but the police found it the same evening.",
    "She practises the violin for an hour before breakfast.",
    "Turn left after the petrol station and follow the signs to the harbour.",
    "The committee postponed its decision because two members had caught a cold.",
    "He peeled the carrots while the soup was boiling.",
    "Nobody remembers who painted the ceiling of that chapel.",
    "Our flight was delayed, so we slept on the floor of the terminal.",
    "Could you lend me a screwdriver and a few nails?",
    "The dentist recommended a softer toothbrush.",
    "Wolves returned to the valley about thirty years ago.",
    "I forgot my umbrella in the taxi on the way to the theatre.",
    "The museum shows pottery from the bronze age.",
    "They argued about politics until the restaurant closed.",
    "A thin layer of ice covered the pond this morning.",
    "Please water the tomatoes twice a week while we are abroad.",
    "The novel is set in a fishing village during the winter of the great storm.",
    "Her grandfather repaired watches in a tiny shop near the cathedral.",
    "The recipe asks for two spoons of vinegar and a pinch of pepper.",
    "Traffic is heavy on the motorway between the airport and the city.",
    "We watched the fireworks from the roof of the neighbour's house.",
)
