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
    Anna: Good morning everyone, and welcome to the meeting about the mobile app.
    Anna: Let us start with the budget and the launch.
    Anna: Daniel, what is the status of the mobile app?
    Daniel: The mobile app is stable, but the payment system is slow.
    Daniel: The engineering team has twelve open tasks and three of them are urgent.
    Anna: I think the payment system is risky, because the server crashed.
    Daniel<0.6: Yes, that is right.
    Daniel: I will fix the payment system on Thursday with Victor.
    Maria: The payment system was tested on Tuesday by the security team.
    Peter: We need to replace the backup server in Chicago before the end of March.
    Anna: Peter, what is the status of the backup server?
    Peter: The cost of the backup server is nine thousand dollars.
    Maria<0.5: The backup server is too expensive.
    Anna: Let us talk about the launch and the budget.
    Maria: The budget for the launch is eighty thousand dollars.
    Maria: The cost of the marketing campaign is fifty thousand dollars.
    Peter: The marketing campaign was approved on Monday by the finance team.
    Anna: When is the deadline for the mobile app?
    Daniel: The deadline for the mobile app is Friday, the tenth of May.
    Peter: I do not agree with Daniel, because the mobile app is confusing.
    Daniel<0.6: I will improve it this week with Nina.
    Daniel: It will take ten weeks to improve the mobile app.
    Anna: Where will the launch of the mobile app be?
    Maria: The launch of the mobile app will be in Toronto on Sunday.
    Maria: We moved the launch from Berlin to Toronto, because the price went up.
    Peter: The support team will explain the mobile app by Saturday.
    Anna: Who will prepare the hiring plan?
    Maria: Nina will prepare the hiring plan, and Oscar will update the website.
    Daniel: The biggest risk is that the supplier was late.
    Anna<0.4: Yes, I agree with Daniel.
    Peter: The contract is ready, but the delivery truck is broken.
    Anna: Can Peter check the contract and send it to Maria?
    Peter: I will check the contract on Wednesday with Helen.
    Maria: Sales went down by seven percent in February, because the budget was too small.
    Anna: Let us discuss the customer survey and the website.
    Maria: The customer survey was published on Friday by the research group.
    Daniel: I think the website is slow, because we lost power.
    Anna: The action item for Daniel is to test the payment system by Thursday.
    Anna: The action item for Peter is to replace the backup server by Monday.
    Anna: Oscar and Nina will meet in the library on Tuesday.
    Maria: Peter, please update the project plan by Wednesday.
    Peter: I will update the project plan this week.
    Anna: Thank you Peter, that is very important.
    Anna: The next meeting is on Tuesday at ten o'clock in the library.
    """
)

LECTURE = _turns(
    """
    Helen: Welcome to the fourth lecture about photosynthesis.
    Helen: Today we will talk about photosynthesis and the water cycle.
    Helen: Photosynthesis is important, because light turns into sugar.
    Helen: The third topic of this lecture is chemical energy.
    Helen: As you can see, carbon dioxide turns into sugar when the light is high.
    Helen: Chemical energy is important, because energy is stored in sugar.
    Helen: As you can see, water moves through cells when the pressure is high.
    Martin: Excuse me, is it true that oxygen depends on light?
    Helen: Thank you Martin, that is very important.
    Helen: The answer is that light releases oxygen, and water absorbs heat.
    Helen: As you can see, energy depends on heat when the temperature is low.
    Helen: Evolution is important, because bacteria turns into animals.
    Julia: Excuse me, is it true that sugar is measured by temperature?
    Helen: The answer is that sugar depends on temperature, and heat slows down bacteria.
    Helen: The second topic of this lecture is the water cycle.
    Helen: The water cycle is important, because water protects animals.
    Helen: As you can see, heat moves through rocks when the pressure is low.
    Julia: Excuse me, is it true that water is stored in rocks?
    Helen: Yes, that is right.
    Helen: The answer is that water is stored in rocks, and heat moves through water.
    Helen: On Thursday we will measure the oxygen in the library.
    Helen: On Friday we will measure the temperature in the station.
    Helen: Julia, please read chapter six before next Thursday.
    Martin: Excuse me, when is the exam?
    Helen: The exam is on Monday, the second of December, at nine o'clock.
    Martin: Thank you Helen, that is very simple.
    """
)

CALL = _turns(
    """
    Agent: Good afternoon, thank you for calling the support line, my name is Laura.
    Customer: Hello Laura, my name is Thomas, and I ordered a printer three weeks ago.
    Customer: The printer arrived on Saturday, but it is broken.
    Agent: I am sorry about the printer, I will check the order right away.
    Agent: Could you please tell me your order number?
    Customer: Yes, the order number is four seven two nine.
    Agent: You paid ninety dollars for the printer in October.
    Customer<0.4: Yes, that is right.
    Customer: I think the printer is broken, because the power supply is slow.
    Agent: I am sorry about the power supply, I will replace the printer right away.
    Customer: I would like a refund, because my printer is broken.
    Agent: I will approve the refund this week with Martin.
    Agent: We will send a new printer to Dallas on Wednesday.
    Customer: The new office in Chicago opens in June.
    Customer: Can Laura deliver the printer and send it to Robert?
    Agent: The printer was moved on Friday by the operations team.
    Agent: We will send a new printer to the library on Thursday.
    Customer: I think the account is still missing, because the password is complete.
    Agent: I am sorry about the password, I will update the account right away.
    Customer: The subscription is excellent, but the invoice is confusing.
    Agent: I will explain the invoice on Monday with Sarah.
    Agent: Is there anything else I can help you with, Thomas?
    Customer: No, that is all, thank you very much, Laura.
    Agent: Thank you Thomas, have a nice day, goodbye.
    """
)

SCRIPTS = {"project-meeting": MEETING, "biology-lecture": LECTURE, "support-call": CALL}
"""The recordings by file name."""

QUESTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "project-meeting": (
        ("When is the deadline for the mobile app?", "The deadline for the mobile app is Friday"),
        ("How large is the budget for the launch?", "The budget for the launch is eighty thousand"),
        ("Where will the launch be?", "The launch of the mobile app will be in Toronto"),
        ("What is the cost of the backup server?", "The cost of the backup server"),
        ("Who will prepare the hiring plan?", "Nina will prepare the hiring plan"),
        ("What is the biggest risk?", "The biggest risk is"),
    ),
    "biology-lecture": (
        ("Why is photosynthesis important?", "Photosynthesis is important"),
        ("Where is energy stored?", "Chemical energy is important"),
        ("When is the exam?", "The exam is on Monday"),
        ("Which chapter should we read?", "Julia, please read chapter six"),
        ("What will we measure on Thursday?", "On Thursday we will measure"),
    ),
    "support-call": (
        ("What is the order number?", "Yes, the order number"),
        ("How much did the customer pay?", "You paid ninety dollars"),
        ("When did the printer arrive?", "The printer arrived on Saturday"),
        ("Where is the new printer sent?", "We will send a new printer to Dallas"),
        ("Who will approve the refund?", "I will approve the refund"),
    ),
}
"""Questions a listener may ask of a recording, with how the sentence begins that answers each."""
