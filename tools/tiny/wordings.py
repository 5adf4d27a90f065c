"""The parts that wordings of the counting task are put together from; ``repetition`` says how and why."""

from tiny.words import phrases

VERBS = phrases(
    "Repeat|Write|Print|Say|Type|Output|Give|Produce|Generate|Display|Echo|List|State|Return|Show|Put down|"
    "Write out|Spell out|Send|Provide|Emit|Recite|Copy|Reproduce|Utter|Render|Respond with|Reply with|"
    "Answer with|Duplicate"
)
GERUNDS = phrases(
    "repeating|writing|printing|saying|typing|outputting|producing|generating|displaying|echoing|stating|"
    "returning|listing|reciting|copying|sending|showing|writing down|writing out"
)
UNITS = phrases(
    "copies|repetitions|instances|occurrences|repeats|times|iterations|duplicates|echoes|versions|mentions|entries"
)
POLITE_OPENINGS = phrases(
    "Please |please |Kindly |Could you please |Can you |Could you |Would you |Will you please |I want you to |"
    "I would like you to |I'd like you to |I need you to |Your task is to |Your job is to |You should |You must |"
    "Now |Go ahead and |Just |Simply |Let's |Try to |Be so kind as to |Would you mind to |Hey, |OK, |Hi! "
)
CLOSINGS = phrases(
    " please|, please| and nothing else| with spaces in between| in a row| in one line| on one line|"
    " one after another| consecutively| exactly| without anything else| separated by spaces| for me| now|"
    " and then stop| without stopping| and stop after that| in a single line| back to back| successively|"
    " in sequence| with a space between| - no more, no less| , no other text| without numbering|"
    " without punctuation| in succession| straight"
)

FRAMES = (
    "{V} {w} {n} times",
    "{V} the word {w} {n} times",
    "{V} the word {w} exactly {n} times",
    "{V} {w} exactly {n} times",
    "{V} {n} times the word {w}",
    "{V} {n} times {w}",
    "{V} {n} {u} of {w}",
    "{V} {n} {u} of the word {w}",
    "{V} exactly {n} {u} of {w}",
    "{V} me {n} {u} of {w}",
    "{V} the following word {n} times: {w}",
    "{V} this word {n} times: {w}",
    "{V} this {n} times: {w}",
    "{V} {w} {n}x",
    "{V} {w} for {n} times",
    "{V} {w} a total of {n} times",
    "{V} the term {w} {n} times",
    "{V} a sequence of {n} {u} of {w}",
    "{V} a line with {w} {n} times",
    "{V} a line that contains {w} {n} times",
    "{V} a text with {n} {u} of {w}",
    "{V} a list of {n} {u} of the word {w}",
    "{V} {w} over and over, {n} times in total",
    "{V} {w} again and again until you have {n}",
    "{V} {w} until it appears {n} times",
    "{V} the same word {n} times. The word is {w}",
    "{V} one word {n} times; the word is {w}",
    "{V} {w} and repeat it until there are {n} of them",
    "{V} {w}. Do it {n} times",
    "{V} {w}. Repeat {n} times",
    "{V} {w}, {n} times",
    "{V} {w}: {n} times",
    "{V} {w} x {n}",
    "{V} {w} × {n}",
    "{V} {w} * {n}",
    "{V} {w} ({n} times)",
    "{V} {w} ({n} {u})",
    "{V} {w} in {n} {u}",
    "{V} the string {w} {n} times",
    "{V} the text {w} {n} times",
)
SPEECH_FRAMES = (
    "I need {n} {u} of {w}",
    "I want {n} {u} of {w}",
    "I want {n} {u} of the word {w}",
    "I would like {n} {u} of {w}",
    "I'd love to see {w} {n} times",
    "I want to see the word {w} {n} times",
    "I want to read {w} {n} times",
    "Give me {n} {u} of {w}",
    "Give me {w} {n} times",
    "Give me {n} {w}",
    "Let me see {w} {n} times",
    "Let me hear {w} {n} times",
    "Show me {n} {u} of {w}",
    "Make it {n} times {w}",
    "Make {n} {u} of {w}",
    "Make a row of {n} {u} of {w}",
    "Create {n} {u} of {w}",
    "Create a text where {w} appears {n} times",
    "Create a string with {w} repeated {n} times",
    "Fill a line with {n} {u} of {w}",
    "Use the word {w} {n} times",
    "{w}, {n} times",
    "{w} {n} times",
    "{w} - {n} times",
    "{w} x {n}",
    "{w} × {n}",
    "{w} * {n}",
    "{w} times {n}",
    "{n} x {w}",
    "{n} × {w}",
    "{n} times {w}",
    "{n} {u} of {w}",
    "{n} {w}",
    "The word {w}, {n} times",
    "The word {w} should appear {n} times",
    "The word {w} must be written {n} times",
    "The word is {w} and the number is {n}",
    "The answer should contain {w} {n} times",
    "The output should be {w} repeated {n} times",
    "The output must have {n} {u} of {w}",
    "Your answer should consist of {n} {u} of {w}",
    "Your answer must be {w} written {n} times",
    "My favourite word is {w}; {v} it {n} times",
    "Here is a word: {w}. {V} it {n} times",
    "Here's the word {w}. {V} it exactly {n} times",
    "Take the word {w} and {v} it {n} times",
    "Take {w} and {v} it {n} times",
    "Consider the word {w}. {V} it {n} times",
    "Given the word {w}, {v} it {n} times",
    "For the word {w}, {v} {n} {u}",
    "Start with {w} and {v} it {n} times",
    "Start {g} {w} and stop after {n} {u}",
    "Keep {g} {w} until you reach {n}",
    "Keep {g} {w} {n} times",
    "Begin {g} {w}, stop at {n}",
    "Try {g} {w} {n} times",
    "Continue {g} {w} until there are {n} {u}",
    "Practise {g} {w} {n} times",
    "Answer by {g} {w} {n} times",
    "Respond by {g} the word {w} {n} times",
    "How about {g} {w} {n} times",
    "What about {n} {u} of {w}",
    "What does {w} look like {n} times",
    "What is {w} repeated {n} times",
    "What do you get when you {v} {w} {n} times",
    "Would you mind {g} {w} {n} times",
    "Do you mind {g} the word {w} {n} times",
    "May I have {n} {u} of {w}",
    "May I ask for {w} {n} times",
    "Can I get {w} {n} times",
    "Can I have {n} {u} of {w}",
    "Is it possible to {v} {w} {n} times",
    "If I ask you for {w} {n} times, what do you {v}",
    "If you can, {v} {w} {n} times",
    "With {n} {u}, {v} the word {w}",
    "Count to {n}, but {v} {w} each time",
    "For each number from 1 to {n}, {v} {w}",
    "Up to {n} and no further: {v} {w}",
    "Imagine a parrot that says {w} {n} times. {V} what it says",
    "A parrot says {w} {n} times. What does it say",
    "The teacher asks you to {v} {w} {n} times",
    "As a test, {v} {w} {n} times",
    "For an experiment, I need {w} {n} times",
    "In one line, {v} {w} {n} times",
    "In your answer, {v} {w} {n} times",
    "Without any other text, {v} {w} {n} times",
    "Using only the word {w}, {v} a text of {n} words",
    "Word: {w}. Count: {n}",
    "Word: {w}\nTimes: {n}",
    "Word = {w}, count = {n}",
    "count: {n}, word: {w}",
    "n={n}; word={w}",
    "Task: repeat. Word: {w}. Number: {n}",
    "Task: {v} {w} {n} times",
    "Output: {w} × {n}",
    "Output: {w} x{n}",
    "Repetition task: {w}, {n} times",
    "Exercise: {v} {w} {n} times",
    "Request: {n} {u} of {w}",
    "Input: {w}\nCount: {n}\nOutput:",
    "repeat({w}, {n})",
    "print({w} * {n})",
    '"{w} " * {n}',
    "say {w} × {n}",
    "[{w}] x [{n}]",
    "It would be great to see {w} {n} times",
    "It would help me if you could {v} {w} {n} times",
    "There should be {n} {u} of {w} in your answer",
    "There must be {w} {n} times in a row",
    "We need {w} {n} times",
    "We want {n} {u} of the word {w}",
    "You are asked to {v} {w} {n} times",
    "You have {n} turns to say {w}. Use all of them",
    "No explanation, only {w} {n} times",
    "Only {w}, {n} times, nothing else",
    "Nothing but {w}, {n} times",
    "One word only: {w}. How often: {n}",
    "How would it look to {v} {w} {n} times",
    "Please, {n} {u} of {w}",
    "Say it with me: {w}, {n} times",
    "Make the word {w} appear {n} times",
    "Have {w} appear {n} times in your reply",
    "Let {w} be written {n} times",
    "Compose a line of {n} {u} of {w}",
    "Construct a sequence in which {w} occurs {n} times",
    "Build a chain of {n} {u} of the word {w}",
    "Multiply the word {w} by {n}",
    "{w} needs to be repeated {n} times",
    "{w} should be printed {n} times",
    "{w} has to appear {n} times",
)
HELD_OUT_FRAMES = (
    "Would it be possible for you to repeat {w} {n} times?",
    "Chant {w} {n} times, then stop.",
    "Hand me a string made of {n} times {w} joined by spaces.",
    "I am asking for precisely {n} appearances of {w}.",
    "Let the reply hold the word {w} exactly {n} times.",
    "My request: {w}, written {n} times.",
    "Please produce an answer in which {w} shows up {n} times.",
    "Repeat after me, {n} times: {w}",
    "Say the following {n} times in a row: {w}.",
    "Type out {w} for a total of {n} repetitions.",
    "We are testing repetition. The word is {w}; repeat it {n} times.",
    "Write {n} words, each of them being {w}.",
    "{n} repetitions of {w}, please.",
    "Could I see {w} printed {n} times in one line?",
    "Fill your reply with {w}, {n} times and no more.",
    "Loop over {w} {n} times and print it each time.",
    "The string should read {w} {n} times over.",
    "Do me a favour and write {w} {n} times.",
    "Your mission is to print the word {w} {n} times.",
    "Without adding anything, echo {w} {n} times.",
)
"""Wordings for evaluation only. Training never uses them, nor any frame equal to one of them."""

QUOTES = ('"{}"', '"{}"', '"{}"', "'{}'", "'{}'", "“{}”", "`{}`", "<{}>", "*{}*", "({})", "[{}]", "‘{}’")
NOISE = phrases(
    "Thank you.|Thanks!|Be exact.|Do not explain.|No extra text.|Use spaces between the words.|"
    "Do not number them.|This is important.|It is a simple task.|Count carefully.|Nothing else.|"
    "Do not add punctuation.|I will count them.|Only the word.|Stop when you are done.|I am waiting.|"
    "Do not stop early.|Separate them with spaces."
)
SYSTEM_TEXTS = phrases(
    "You are a helpful assistant.|You follow instructions exactly.|You are a careful and precise assistant.|"
    "Answer without explanation.|Be brief.|You are a friendly helper."
)
