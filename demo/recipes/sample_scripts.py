"""What is said in the sample recordings. None of these sentences is in a training text: `text.split_of` sees to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One speaker's turn."""

    speaker: str
    text: str
    overlap_s: float = 0.0
    """How long before the end of the turn before it this one begins; 0 leaves a short pause instead."""


def _turns(script: str) -> tuple[Turn, ...]:
    """Parse lines of `Speaker: text`; a speaker written `Speaker<0.8` comes in 0.8 s before the other has ended."""
    turns = []
    for line in script.strip().splitlines():
        name, text = line.split(": ", 1)
        speaker, _, overlap = name.strip().partition("<")
        turns.append(Turn(speaker=speaker, text=text.strip(), overlap_s=float(overlap or 0)))
    return tuple(turns)


MEETING = _turns(
    """
    Anna: Good morning everyone, and welcome to the project meeting about the new mobile app.
    Anna: Today we will discuss the budget, the deadline and the launch.
    Anna: Daniel, what is the status of the mobile app this week?
    Daniel: The mobile app is almost ready, but the payment system is still too slow.
    Daniel: The engineering team has twelve open tasks for the app, and three of them are urgent.
    Maria: We tested the payment system on Tuesday, and the test failed after ten minutes.
    Daniel<0.7: Yes, that is right, the database crashed.
    Daniel: I will fix the database with Victor, and we will test the payment system again on Thursday.
    Peter: I think the old backup server is the problem.
    Peter: We need to replace the backup server in Chicago before the end of March.
    Anna: Peter, what is the cost of a new backup server?
    Peter: A new backup server costs about nine thousand dollars.
    Maria<0.6: That is very expensive.
    Anna: Let us move on to the budget for the launch.
    Maria: The budget for the launch is eighty thousand dollars.
    Maria: The marketing group has already used fifty thousand dollars for the marketing campaign.
    Peter: So we have thirty thousand dollars for the launch and the new server.
    Maria: Yes, and the finance team approved the marketing campaign last Monday.
    Anna: When is the deadline for the mobile app?
    Daniel: The deadline for the mobile app is Friday, the fifteenth of May.
    Peter: I do not agree with Daniel, because the security review will take two weeks.
    Daniel<0.8: I know, but we can start early.
    Daniel: The security team can start the review of the app on Wednesday.
    Anna: That is a good plan, so the deadline is still the fifteenth of May.
    Anna: Maria, where will the launch be?
    Maria: We decided to move the launch from Berlin to Toronto, because the hotel in Berlin was too small.
    Maria: The launch will be in Toronto on the second of June, and we expect two hundred customers.
    Peter: The support team needs four new people before the launch in June.
    Maria: Nina will prepare the hiring plan with the legal department this month.
    Daniel: The biggest risk is that the supplier in Madrid is late again.
    Anna<0.5: Yes, I am worried about that too.
    Peter: The contract with the supplier in Madrid ends in July, and the price went up by seven percent.
    Anna: Peter, please call the supplier tomorrow and ask for a better price.
    Peter: I will call the supplier in the morning and send the answer to Maria.
    Maria: Sales of the old app went down by five percent in February, because customers want the new app.
    Anna: Let us write down the action items for this week.
    Anna: Daniel will fix the database, and Peter will replace the backup server.
    Anna: Maria will publish the customer survey before the next meeting.
    Daniel: Oscar can help me with the database on Wednesday.
    Anna: Thank you Daniel, that is very helpful.
    Anna: The next project meeting is on Tuesday at ten o'clock on the second floor.
    Maria: Thank you Anna, see you on Tuesday.
    Peter<0.5: Thank you, have a nice day everyone.
    """
)

LECTURE = _turns(
    """
    Helen: Good afternoon everyone, and welcome to the fourth lecture about plants and energy.
    Helen: In the last lecture we learned about cells, and today we will learn about photosynthesis.
    Helen: Photosynthesis is how plants turn light into chemical energy.
    Helen: Plants absorb light from the sun, water from the ground and carbon dioxide from the air.
    Helen: The light is absorbed by the green leaves, and the energy is stored in sugar.
    Helen: Plants release oxygen, and animals need this oxygen to live.
    Helen: The first experiment was done in seventeen seventy nine by a doctor who put plants under water.
    Helen: He saw that plants release oxygen in the light, but not in the dark.
    Martin: Excuse me, does photosynthesis depend on the temperature?
    Helen: That is a very good question, Martin.
    Helen: Yes, photosynthesis is slow when the temperature is low, and it is fastest at about twenty five degrees.
    Helen: When the temperature is above forty degrees, photosynthesis stops, because the cells are damaged.
    Julia: Can plants use every colour of light?
    Helen: No, Julia, plants absorb red light and blue light, but they do not absorb much green light.
    Helen: This is the reason why leaves are green.
    Julia: So is a plant slower under a green lamp?
    Helen: Exactly, under a green lamp the plant produces less sugar and less oxygen.
    Helen: Remember that one large tree produces enough oxygen for two people every year.
    Helen: Please read chapter six before next Thursday.
    Helen: On Thursday we will measure the oxygen from water plants in the laboratory on the third floor.
    Martin: When is the exam for this course?
    Helen: The exam for this course is on Monday, the twelfth of December, at nine o'clock.
    Helen: The exam will have thirty questions, and you will have ninety minutes.
    Helen: Are there any other questions about photosynthesis or the exam?
    Julia: No, that was very clear, thank you.
    Helen: Thank you for your questions, and see you in the laboratory on Thursday.
    """
)

CALL = _turns(
    """
    Agent: Good afternoon, thank you for calling the support line, my name is Laura.
    Agent: How can I help you this afternoon?
    Customer: Hello Laura, my name is Thomas, and I ordered a printer three weeks ago.
    Customer: The printer arrived on Saturday, but it is broken.
    Agent: I am very sorry about the broken printer, Thomas.
    Agent: Could you please tell me your order number?
    Customer: Yes, my order number is four seven two nine.
    Agent: Thank you, let me check the order four seven two nine for you.
    Agent: I see that you paid one hundred and sixty dollars for the printer in October.
    Customer<0.4: Yes, that is right.
    Customer: The power supply is very hot, and the paper does not move.
    Agent: Please do not use the power supply again, because it is not safe.
    Agent: We can send you a new printer, or we can give you a refund.
    Customer: I need the printer for my office, so please send me a new printer.
    Agent: The new printer will leave our warehouse in Dallas tomorrow.
    Agent: It will arrive at your house on Wednesday before twelve o'clock.
    Customer: I am not at home on Wednesday, can you send it to the library?
    Agent: Of course, I will send the printer to the library in Chicago.
    Customer: Thank you, and what should I do with the old printer?
    Agent: The driver will take the old printer with him, and you do not need to pay anything.
    Customer: There is one other problem, I have forgotten the password for my account.
    Agent: I will send a new password to your phone in five minutes.
    Customer: That is great, I have the message now.
    Agent: Is there anything else that I can do for you, Thomas?
    Customer: No, that is all, you were very helpful, Laura.
    Agent: Thank you for your call, Thomas, and have a nice weekend.
    Customer<0.4: Thank you, goodbye.
    """
)

SCRIPTS = {"project-meeting": MEETING, "biology-lecture": LECTURE, "support-call": CALL}
"""The recordings by file name."""

QUESTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "project-meeting": (
        ("When is the deadline for the mobile app?", "The deadline for the mobile app is Friday"),
        ("How large is the budget for the launch?", "The budget for the launch is eighty thousand"),
        ("Where will the launch be?", "The launch will be in Toronto"),
        ("What does a new backup server cost?", "A new backup server costs"),
        ("Who will prepare the hiring plan?", "Nina will prepare the hiring plan"),
        ("What is the biggest risk?", "The biggest risk is"),
    ),
    "biology-lecture": (
        ("What is photosynthesis?", "Photosynthesis is how plants turn"),
        ("At which temperature is photosynthesis fastest?", "Yes, photosynthesis is slow"),
        ("Why are leaves green?", "No, Julia, plants absorb red light"),
        ("When is the exam?", "The exam for this course is on Monday"),
        ("Which chapter should we read?", "Please read chapter six"),
    ),
    "support-call": (
        ("What is the order number?", "Yes, my order number"),
        ("How much did the customer pay?", "I see that you paid"),
        ("What is wrong with the printer?", "The power supply is very hot"),
        ("When will the new printer arrive?", "It will arrive at your house"),
        ("Where is the printer sent?", "Of course, I will send the printer"),
    ),
}
"""Questions a listener may ask of a recording, with how the sentence begins that answers each."""
