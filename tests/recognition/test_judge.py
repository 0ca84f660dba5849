from dataclasses import replace

import pytest

from pipelines.domain.audio import TimeSpan
from pipelines.domain.transcript import Segment, TranscriptionOptions, Word
from pipelines.recognition.judge import Verdict, collapse_loops, compression_ratio, judge_window, uncovered_speech

SPEECH = (TimeSpan(start_s=10.0, end_s=16.0),)
THRESHOLD = TranscriptionOptions().compression_ratio_threshold

SENTENCES = {
    "latin": (
        "All human beings are born free and equal in dignity and rights. They are endowed with "
        "reason and conscience and should act towards one another in a spirit of brotherhood."
    ),
    "vietnamese": (
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Mọi con "
        "người đều được tạo hóa ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình "
        "anh em."
    ),
    "cyrillic": (
        "Для прослушивания следующего сообщения нажмите шесть. Для повторного прослушивания "
        "сообщения нажмите пять. Для прослушивания предыдущего сообщения нажмите четыре. Для "
        "удаления или восстановления сообщения нажмите ноль."
    ),
    "greek": (
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι "
        "προικισμένοι με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα "
        "αδελφοσύνης."
    ),
    "armenian": (
        "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։ Նրանք "
        "ունեն բանականություն ու խիղճ և միմյանց պետք է եղբայրաբար վերաբերվեն։"
    ),
    "georgian": (
        "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით. მათ "
        "მინიჭებული აქვთ გონება და სინდისი და ერთმანეთის მიმართ უნდა იქცეოდნენ ძმობის სულისკვეთებით."
    ),
    "hebrew": (
        "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה "
        "עליהם לנהוג איש ברעהו ברוח של אחווה."
    ),
    "arabic": (
        "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً وعليهم أن يعامل "
        "بعضهم بعضاً بروح الإخاء."
    ),
    "urdu": (
        "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ انہیں ضمیر اور عقل ودیعت "
        "ہوئی ہے۔ اس لئے انہیں ایک دوسرے کے ساتھ بھائی چارے کا سلوک کرنا چاہیئے۔"
    ),
    "devanagari": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। "
        "उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव "
        "करना चाहिए।"
    ),
    "bengali": (
        "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। তাঁদের বিবেক এবং "
        "বুদ্ধি আছে; সুতরাং সকলেরই একে অপরের প্রতি ভ্রাতৃত্বসুলভ মনোভাব নিয়ে আচরণ করা উচিত।"
    ),
    "gurmukhi": (
        "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ ਅਤੇ ਸੁਤੇ ਸਿੱਧ "
        "ਸਾਰੇ ਲੋਕ ਬਰਾਬਰ ਹਨ। ਉਨ੍ਹਾਂ ਸਭਨਾਂ ਨੂੰ ਤਰਕ ਅਤੇ ਜ਼ਮੀਰ ਦੀ ਸੌਗਾਤ ਮਿਲੀ ਹੋਈ ਹੈ।"
    ),
    "gujarati": (
        "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે. તેમનામાં "
        "વિચારશક્તિ અને અંતઃકરણ હોય છે અને તેમણે પરસ્પર બંધુત્વની ભાવનાથી વર્તવું જોઇએ."
    ),
    "tamil": (
        "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும், உரிமைகளிலும் "
        "சமமானவர்கள், அவர்கள் நியாயத்தையும் மனச்சாட்சியையும் இயற்பண்பாகப் பெற்றவர்கள். அவர்கள் "
        "ஒருவருடனொருவர் சகோதர உணர்வுப் பாங்கில் நடந்துகொள்ளல் வேண்டும்."
    ),
    "telugu": (
        "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు. వారు "
        "వివేచన-అంతఃకరణ సంపన్నులగుటచే పరస్పరము భ్రాతృభావముతో వర్తింపవలయును."
    ),
    "kannada": (
        "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಹುಟ್ಟಿದ್ದಾರೆ ಹಾಗೂ ಘನತೆ ಮತ್ತು ಅಧಿಕಾರಗಳಲ್ಲಿ ಸಮಾನರಾಗಿದ್ದಾರೆ. "
        "ತಿಳಿವು ಮತ್ತು ಅಂತಃಕರಣಗಳನ್ನು ಹೊಂದಿದವರಾದ್ದರಿಂದ ಅವರು ಒಬ್ಬರಿಗೊಬ್ಬರು ಸಹೋದರ ಭಾವದಿಂದ ನಡೆದುಕೊಳ್ಳಬೇಕು."
    ),
    "malayalam": (
        "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചവരാണ്. "
        "അന്യോന്യം ഭ്രാതൃഭാവത്തോടെ പെരുമാറുവാനാണ് മനുഷ്യന് വിവേകബുദ്ധിയും മനസ്സാക്ഷിയും "
        "സിദ്ധമായിരിക്കുന്നത്."
    ),
    "sinhala": (
        "සියලු මනුෂ්යයෝ නිදහස්ව උපත ලබා ඇත. ගරුත්වයෙන් හා අයිතිවාසිකම්වලින් සමාන වෙති. යුක්ති "
        "අයුක්ති පිළිබඳ හැඟීමෙන් හා හෘදය සාක්ෂියෙන් යුත් ඔවුනොවුන්වුනට සැළකිය යුත්තේ සහෝදරත්වය "
        "පිළිබඳ හැඟීමෙනි."
    ),
    "thai": (
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ"
    ),
    "lao": (
        "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ ແລະ ຄວາມສະເໝີພາບເທົ່າທຽມກັນ. ທຸກຄົນມີເຫດຜົນ ແລະ "
        "ຄວາມຄິດຄວາມເຫັນສ່ວນຕົວ ແຕ່ວ່າມະນຸດທຸກຄົນຄວນປະຕິບັດຕໍ່ກັນຄືກັນກັບເປັນອ້າຍນ້ອງກັນ."
    ),
    "burmese": (
        "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော အခွင့်အရေးများဖြင့် "
        "လည်းကောင်း၊ မွေးဖွားလာသူများ ဖြစ်သည်။ ထိုသူတို့၌ ပိုင်းခြား ဝေဖန်တတ်သော ဉာဏ်နှင့် ကျင့်ဝတ် "
        "သိတတ်သော စိတ်တို့ရှိ၍ ထိုသူတို့သည် အချင်းချင်း မေတ္တာထား၍ ဆက်ဆံကျင့်သုံးသင့်၏။"
    ),
    "khmer": (
        "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងសមភាពក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ "
        "មនុស្សមានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត "
        "ហើយគប្បីប្រព្រឹត្ដចំពោះគ្នាទៅវិញទៅមកក្នុងស្មារតីភាតរភាពជាបងប្អូន។"
    ),
    "ethiopic": (
        "የሰው፡ልጅ፡ሁሉ፡ሲወለድ፡ነጻና፡በክብርና፡በመብትም፡እኩልነት፡ያለው፡ነው። የተፈጥሮ፡ማስተዋልና፡ሕሊና፡ስላለው፡አንዱ፡ሌላውን፡በወንድማማችነት፡መንፈስ፡መመልከት፡ይገባዋል።"
    ),
    "hangul": (
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 "
        "이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다."
    ),
    "han": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "kana": (
        "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である"
        "。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。"
    ),
    "tibetan": (
        "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། "
        "ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ། "
        "ཁོང་ཚོར་རང་བྱུང་གི་བློ་རྩལ་དང་བསམ་ཚུལ་བཟང་པོ་འདོན་པའི་འོས་བབས་ཀྱང་ཡོད།"
    ),
}
"""Article 1 of the Universal Declaration of Human Rights, and a Russian list as a telephone reads it aloud."""


def segment(start_s: float, end_s: float, text: str = "something") -> Segment:
    return Segment(id=0, start_s=start_s, end_s=end_s, text=text)


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "verdict"),
    [
        pytest.param("Good morning.", -0.3, 0.01, Verdict.GOOD, id="good"),
        pytest.param("no " * 60, -0.3, 0.01, Verdict.REPETITION, id="repeats itself"),
        pytest.param("Good morning.", -1.2, 0.01, Verdict.UNLIKELY, id="guessing"),
        pytest.param("Thank you.", -1.2, 0.9, Verdict.NO_SPEECH, id="guessing at silence"),
        pytest.param("Thank you.", -0.3, 0.9, Verdict.GOOD, id="sure in spite of no_speech"),
        pytest.param("no " * 60, -0.1, 0.9, Verdict.NO_SPEECH, id="repeats itself at noise"),
        pytest.param("", -0.3, 0.01, Verdict.NO_TEXT, id="speech without text"),
        pytest.param("", -0.3, 0.9, Verdict.NO_SPEECH, id="no text because no speech"),
    ],
)
def test_a_window_is_judged(text: str, avg_logprob: float, no_speech_prob: float, verdict: Verdict) -> None:
    found = judge_window(
        text,
        avg_logprob=avg_logprob,
        no_speech_prob=no_speech_prob,
        speech=SPEECH,
        options=TranscriptionOptions(),
    )
    assert found is verdict


def test_only_what_another_decoding_may_mend_is_suspicious() -> None:
    assert {verdict for verdict in Verdict if verdict.suspicious} == {
        Verdict.REPETITION,
        Verdict.UNLIKELY,
        Verdict.NO_TEXT,
    }


@pytest.mark.parametrize("script", SENTENCES)
def test_a_sentence_in_any_script_is_no_repetition_and_a_loop_of_it_is(script: str) -> None:
    sentence = SENTENCES[script]
    assert compression_ratio(sentence) < 0.9 * THRESHOLD
    clause = sentence[: max(20, len(sentence) // 5)]
    assert compression_ratio(f"{clause} " * 5) > 1.3 * THRESHOLD
    assert compression_ratio(sentence[:6] * 40) > 1.3 * THRESHOLD


def test_no_text_repeats_nothing() -> None:
    assert compression_ratio("") == 0.0


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        pytest.param(["Thank you."] * 9, ["Thank you."], id="segments"),
        pytest.param(["Yes.", "No."] * 5 + ["So."], ["Yes.", "No.", "So."], id="two segments in turn"),
        pytest.param(["and then and then and then and then and then he went"], ["and then he went"], id="words"),
        pytest.param(["我们" * 12 + "走吧"], ["我们走吧"], id="no spaces between words"),
        pytest.param(["no no no, he said"], ["no no no, he said"], id="a habit of speech"),
        pytest.param(["Press 1 for sales, press 2 for support, press 3 for us, press 4 for me"] * 3, None, id="a list"),
    ],
)
def test_a_loop_is_said_once_and_a_list_stays(texts: list[str], left: list[str] | None) -> None:
    segments = [segment(number, number + 1.0, text) for number, text in enumerate(texts)]
    assert [kept.text for kept in collapse_loops(segments)] == (texts if left is None else left)


def test_the_words_of_a_loop_go_with_it() -> None:
    said = [Word(text=text, start_s=place, end_s=place + 0.5) for place, text in enumerate(["go", *["on"] * 5])]
    (kept,) = collapse_loops([replace(segment(0.0, 5.5, "go on on on on on"), words=tuple(said))])
    assert (kept.text, [word.text for word in kept.words], kept.end_s) == ("go on", ["go", "on"], 1.5)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], [(10, 16)]),
        ([(10, 16)], []),
        ([(11, 12)], [(10, 11), (12, 16)]),
        ([(9, 11), (14, 17)], [(11, 14)]),
        ([(14, 15), (10, 11)], [(11, 14), (15, 16)]),
        ([(1, 9), (17, 20)], [(10, 16)]),
    ],
)
def test_the_stretches_without_text_are_found(
    segments: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    pieces = (TimeSpan(start_s=10.0, end_s=13.5), TimeSpan(start_s=13.5, end_s=16.0))
    found = uncovered_speech(pieces, [segment(*times) for times in segments])
    assert [(hole.start_s, hole.end_s) for hole in found] == expected
