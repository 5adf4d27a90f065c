"""The word lists that every text is made of.

All lists are our own. They are plain strings so that a reader can see and change them at a glance. A word that stands
here is frequent in the made text, so the tokenizer gives it one token with and one without a leading space: the
counting task then has one answer token a repetition.
"""


def listed(text: str) -> list[str]:
    """The words of a string, so that a list of hundreds reads as text."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases between the bars of a string; spaces at their ends count."""
    return text.split("|")


ANIMALS = listed(
    "cat dog bird fish horse cow sheep goat pig hen duck goose mouse rat rabbit fox wolf bear deer lion tiger monkey "
    "elephant giraffe zebra camel donkey frog toad snake turtle eagle owl crow swan robin parrot whale dolphin shark "
    "seal crab bee ant spider moth butterfly snail worm beetle otter badger hedgehog squirrel beaver bat kangaroo "
    "panda"
)
COLOURS = listed(
    "red blue green yellow orange purple pink brown black white grey silver gold violet crimson turquoise beige indigo"
)
FRUITS = listed("apple pear plum cherry grape peach lemon lime melon mango banana fig date berry apricot kiwi papaya")
VEGETABLES = listed(
    "carrot potato onion leek bean pea cabbage spinach pepper tomato pumpkin garlic turnip radish celery beetroot"
)
DRINKS = listed("water tea coffee milk juice cocoa lemonade cider wine beer soda")
TOOLS = listed("hammer saw drill nail screw rope ladder shovel spade rake axe knife brush needle wrench chisel pliers")
FURNITURE = listed("table chair bed desk shelf sofa lamp mirror carpet cupboard bench stool drawer curtain cushion")
CLOTHES = listed("shirt coat hat shoe boot sock glove scarf dress skirt belt jacket sweater cap apron")
INSTRUMENTS = listed("piano violin flute drum guitar trumpet harp cello organ horn fiddle banjo clarinet")
VEHICLES = listed("car bus train boat ship plane bicycle truck tram wagon sledge rocket ferry taxi canoe")
TREES = listed("oak pine birch maple willow elm cedar beech ash palm spruce poplar")
FLOWERS = listed("rose tulip daisy lily poppy violet orchid iris lavender sunflower")
METALS = listed("iron copper tin lead zinc nickel steel brass bronze")
SHAPES = listed("circle square triangle star cube sphere cone line oval")
SPORTS = listed("football tennis chess hockey rowing cricket golf boxing skating swimming")
JOBS = listed(
    "teacher doctor nurse farmer baker lawyer judge painter writer singer actor carpenter tailor sailor soldier pilot "
    "engineer plumber gardener librarian clerk miner fisher cook driver dentist chemist mechanic journalist"
)
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
PLANETS = listed("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune")
NATURE = listed(
    "sun moon sky cloud rain snow wind storm river lake sea ocean hill mountain valley forest field garden stone sand "
    "island beach desert cave stream wave tide leaf branch root seed grass flower tree fire smoke ice fog thunder "
    "frost shadow light night day morning evening spring summer autumn winter dust mud clay rainbow meadow harbour "
    "shore"
)
THINGS = listed(
    "book page letter paper pen pencil clock watch key door window wall roof floor kitchen bottle cup plate bowl "
    "spoon fork box bag basket coin ring candle bell map flag picture photo camera phone radio computer engine wheel "
    "bridge road street path tower castle church school market shop station farm barn mill house room bread butter "
    "cheese sugar salt honey soup cake pie egg rice meat ball kite doll toy game card song story poem word name "
    "number line code test data file list note sign ticket parcel button thread wool silk glass mirror blanket pillow "
    "towel soap comb umbrella wallet purse ladder bucket barrel fence gate well stove oven kettle pan jar lid tray "
    "sack chain"
)
ABSTRACT = listed(
    "hello world yes no thanks love hope peace time life mind idea dream truth luck joy fear anger music art science "
    "history language freedom courage silence noise power speed heat cold taste smell colour shape size weight money "
    "work play rest sleep health friend mother father sister brother child baby king queen man woman boy girl people "
    "hero ghost magic secret gift party wedding journey holiday war law vote tax news weather energy nature python "
    "sample echo alpha beta gamma delta token model vector matrix logic loop array random simple happy lucky"
)
HELD_OUT_WORDS = listed(
    "lantern pebble walnut saddle feather marble velvet anchor compass thimble cactus lobster penguin sparrow "
    "cinnamon almond hazel copperpot trellis mitten bonnet sandal pigeon heron falcon lizard salmon trout donut "
    "pretzel biscuit mustard ginger basil thyme pepperoni canyon glacier lagoon prairie orchard vineyard chimney "
    "attic cellar balcony hammock tractor scooter gondola zeppelin cymbal tuba oboe piccolo magnet prism pendulum"
)
"""Never repeated in training, in any wording; they occur in lists, questions, prose and mapping exercises only."""

ADJECTIVES = listed(
    "small large old young new quiet loud bright dark warm cold clean dirty slow quick kind cruel brave shy clever "
    "foolish gentle rough soft hard heavy light rich poor strong weak tall short long wide narrow deep shallow empty "
    "full fresh dry wet sweet sour bitter strange common rare simple plain proud humble honest busy lazy careful calm "
    "angry sad glad tired hungry curious patient polite rude lonely famous ancient modern wooden golden round flat"
)
VERBS_PAST = listed(
    "walked looked waited called opened closed carried followed visited painted repaired cleaned watched counted "
    "found lost sold bought built broke kept left met saw heard took gave made read wrote drew hid held caught"
)
VERBS = listed(
    "walk run jump sing dance read write draw paint cook eat drink sleep dream think learn teach help play work build "
    "break open close carry hold give take find lose buy sell see hear smell touch feel speak listen wait travel swim "
    "fly climb fall grow wash clean cut dig plant pull push throw catch count measure visit remember forget laugh cry"
)
ADVERBS = listed("slowly quickly quietly carefully gladly sadly often never always sometimes together alone again soon")

FEMALE_NAMES = listed(
    "Jane Mary Anna Emma Clara Rose Alice Helen Laura Nora Ruth Edith Grace Julia Martha Susan Linda Karen Sarah "
    "Emily Sophie Lucy Olivia Maria Elena Ingrid Hannah Margaret Dorothy Paula"
)
MALE_NAMES = listed(
    "John Robert James William Henry Thomas Peter Paul David Daniel Samuel George Edward Frank Arthur Walter "
    "Nathaniel Oliver Martin Simon Victor Hugo Oscar Leo Felix Adam Eric Karl Lance Michael Richard Joseph Charles"
)
SURNAMES = listed(
    "Smith Johnson Brown Doe Gilchrist Miller Davis Wilson Moore Taylor Anderson Thomas Jackson White Harris Martin "
    "Thompson Garcia Clark Lewis Walker Hall Young King Wright Hill Green Baker Adams Nelson Carter Mitchell Turner "
    "Parker Collins Morris Rogers Reed Cook Morgan Bell Murphy Bailey Cooper Howard Ward Peterson Gray Hughes Price"
)
PLACES = listed(
    "London Paris Boston Chicago Denver Dublin Vienna Lisbon Oslo Madrid Rome Athens Cairo Lima Tokyo Ohio Texas "
    "Maine Oregon Kansas Georgia Virginia Iowa Utah Nevada Montana Alabama Florida California Vermont Michigan "
    "Kentucky"
)
COUNTRY_ADJECTIVES = listed("American British French German Italian Spanish Irish Indian Canadian Japanese Dutch Greek")

CATEGORIES: dict[str, list[str]] = {
    "animals": ANIMALS, "colours": COLOURS, "colors": COLOURS, "fruits": FRUITS, "vegetables": VEGETABLES,
    "drinks": DRINKS, "tools": TOOLS, "pieces of furniture": FURNITURE, "clothes": CLOTHES,
    "instruments": INSTRUMENTS, "vehicles": VEHICLES, "trees": TREES, "flowers": FLOWERS, "metals": METALS,
    "shapes": SHAPES, "sports": SPORTS, "jobs": JOBS, "days": DAYS, "months": MONTHS, "planets": PLANETS,
}  # fmt: skip

DEMO_WORDS = listed("hello world cat dog python test apple blue sun code")
NOUNS = sorted({
    *ANIMALS, *FRUITS, *VEGETABLES, *DRINKS, *TOOLS, *FURNITURE, *CLOTHES, *INSTRUMENTS, *VEHICLES, *TREES, *FLOWERS,
    *METALS, *SHAPES, *NATURE, *THINGS,
})  # fmt: skip
REPEATABLE_WORDS = sorted(
    {*NOUNS, *COLOURS, *SPORTS, *JOBS, *ABSTRACT, *ADJECTIVES, *VERBS, *ADVERBS} - set(HELD_OUT_WORDS)
)
"""Words that training repeats N times; disjoint from HELD_OUT_WORDS."""

COMMON_WORDS = listed(
    "about above across act add after again against ago agree air all almost along already also although always among "
    "amount and another answer any anything appear are area around ask away back based be because become before began "
    "begin being below best better between big both bring but by came can case cause certain chance change check "
    "choose come compose consider consist consisting contain continue could course create cut day deal decide did "
    "different do does done down during each early either else end enough even ever every everything exactly example "
    "explain eye face fact family far feel few final find first follow following food for form forward four free from "
    "front future general get girl give given go good got great group guess had half hand happen happened has have "
    "having he head help her here high him himself his how however hundred if important in include inside instead "
    "into is it its itself just keep kind knew know known last later least leave left less let like likely line "
    "little live local long look lot made main make many matter may maybe me mean message might million mine minute "
    "miss moment month more morning most move much must my myself near need never new next nice nine none nor not "
    "nothing now of off often okay on once one only open or order other our out over own part past pattern perhaps "
    "person phrase place please point possible precisely present problem produce provide put question quite rather "
    "ready real really reason remember reply request respond response result return right same saw say second see "
    "seem seen sentence separate series seven several shall she should show side since six so some someone something "
    "still stop string such sure take talk tell ten term than that the their them then there these they think third "
    "this those though thought three through till times to today tomorrow total toward true try turn two under until "
    "up upon us use used using usual utter very want was way we week well went were what when where whether which "
    "while who whole whom whose why will wish with within without wonder worth would write year yes yesterday yet you "
    "your yours character characters letters consecutive succession total amount specified provide successive "
    "containing comma commas newline space spaces precisely occurrence appears dear film movie actor actors plot "
    "scene watch watched watching horror comedy ending director ever never worst least"
)
"""Function words and words that requests often hold: each gets a token of its own behind a space."""
