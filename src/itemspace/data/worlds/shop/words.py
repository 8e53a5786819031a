"""What the shop sells and how it speaks of it: product types, features, colors, brands, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

ACTIVITIES = ("hiking", "camping", "winter", "city", "cooking", "living", "garden", "repair")

_KINDS = """
hiking boots     | boots   | Outdoor | Footwear | 120 | hiking  | 9  | boot   | leather,suede,nylon       | waterproof,lightweight,insulated,durable | | wool socks,trekking poles,daypack
winter boots     | boots   | Outdoor | Footwear | 110 | winter  | 12 | boot   | leather,rubber,suede      | insulated,waterproof,durable,soft | | wool socks,gloves,beanie
rubber boots     | boots   | Outdoor | Footwear | 45  | garden  | 4  | boot   | rubber                    | waterproof,durable,soft,insulated | | garden gloves,watering can
trail shoes      | shoes   | Outdoor | Footwear | 95  | hiking  | 6  | shoe   | nylon,mesh                | lightweight,breathable,waterproof,durable | | running socks,water bottle
walking shoes    | shoes   | Outdoor | Footwear | 80  | city    | 5  | shoe   | leather,canvas,suede      | lightweight,breathable,soft,waterproof | | wool socks,daypack
sandals          | sandals | Outdoor | Footwear | 55  | city    | 7  | shoe   | leather,nylon,cork        | breathable,lightweight,durable,soft | | water bottle,sun hat
rain jacket      | jacket  | Outdoor | Clothing | 130 | hiking  | 10 | jacket | nylon,polyester           | waterproof,breathable,lightweight,packable | | rain trousers,daypack
down jacket      | jacket  | Outdoor | Clothing | 190 | winter  | 12 | jacket | down,nylon                | insulated,lightweight,packable,soft | | beanie,gloves
fleece jacket    | jacket  | Outdoor | Clothing | 70  | hiking  | 11 | jacket | fleece,recycled wool      | soft,insulated,breathable,lightweight | | base layer,hiking trousers
rain trousers    | trousers| Outdoor | Clothing | 75  | hiking  | 10 | trousers | nylon,polyester         | waterproof,packable,breathable,lightweight | | rain jacket
hiking trousers  | trousers| Outdoor | Clothing | 80  | hiking  | 6  | trousers | nylon,cotton            | breathable,durable,lightweight,stretchy | | hiking boots,wool socks
base layer       | shirt   | Outdoor | Clothing | 55  | winter  | 12 | shirt  | merino wool,polyester     | breathable,soft,insulated,lightweight | | fleece jacket,wool socks
wool socks       | socks   | Outdoor | Clothing | 18  | hiking  | 11 | sock   | merino wool,recycled wool | soft,insulated,breathable,durable | | hiking boots
running socks    | socks   | Outdoor | Clothing | 14  | city    | 5  | sock   | cotton,polyester          | breathable,lightweight,soft,stretchy | | trail shoes
gloves           | gloves  | Outdoor | Clothing | 35  | winter  | 12 | glove  | leather,fleece            | insulated,waterproof,soft,stretchy | | beanie,down jacket
beanie           | hat     | Outdoor | Clothing | 24  | winter  | 12 | hat    | merino wool,cotton        | soft,insulated,stretchy,breathable | | gloves
sun hat          | hat     | Outdoor | Clothing | 30  | garden  | 7  | hat    | cotton,straw              | breathable,lightweight,packable,washable | | sandals
tent             | tent    | Outdoor | Camping  | 150 | camping | 6  | tent   | nylon,polyester,canvas    | waterproof,lightweight,packable,durable | for one,for two,for three,for four | sleeping bag,sleeping mat,lantern
sleeping bag     | sleeping bag | Outdoor | Camping | 120 | camping | 7 | roll | down,polyester,cotton    | insulated,packable,lightweight,washable | | sleeping mat,tent
sleeping mat     | mat     | Outdoor | Camping  | 65  | camping | 7  | roll   | foam,nylon                | insulated,packable,lightweight,soft | for one,for two | sleeping bag
camp stove       | stove   | Outdoor | Camping  | 70  | camping | 7  | pot    | steel,titanium            | lightweight,packable,windproof,durable | | cooking pot,water bottle
headlamp         | lamp    | Outdoor | Camping  | 40  | camping | 10 | lamp   | plastic,aluminum          | rechargeable,lightweight,waterproof,bright | | tent,daypack
lantern          | lamp    | Outdoor | Camping  | 45  | camping | 8  | lamp   | steel,plastic             | rechargeable,bright,packable,waterproof | | camp chair,camp stove
camp chair       | chair   | Outdoor | Camping  | 60  | camping | 7  | chair  | aluminum,canvas           | packable,lightweight,durable,washable | | lantern,cooler box
cooler box       | box     | Outdoor | Camping  | 85  | camping | 7  | box    | plastic,steel             | insulated,durable,washable,packable | | camp chair,water bottle
water bottle     | bottle  | Outdoor | Camping  | 25  | hiking  | 6  | bottle | steel,glass,plastic       | insulated,lightweight,durable,dishwasher safe | | daypack
backpack         | backpack| Outdoor | Bags     | 140 | hiking  | 6  | bag    | nylon,canvas              | waterproof,lightweight,durable,breathable | 40 liters,55 liters,70 liters | tent,trekking poles
daypack          | backpack| Outdoor | Bags     | 70  | city    | 5  | bag    | nylon,canvas,leather      | lightweight,waterproof,packable,durable | 15 liters,20 liters,28 liters | water bottle,rain jacket
duffel bag       | bag     | Outdoor | Bags     | 90  | city    | 7  | bag    | canvas,nylon,leather      | durable,waterproof,packable,lightweight | 40 liters,60 liters,90 liters | packing cubes
packing cubes    | bag     | Outdoor | Bags     | 28  | city    | 7  | box    | nylon,cotton              | lightweight,washable,packable,durable | | duffel bag
trekking poles   | poles   | Outdoor | Gear     | 75  | hiking  | 6  | pole   | aluminum,carbon           | lightweight,packable,durable,shockproof | | hiking boots,backpack
cooking pot      | pot     | Home    | Kitchen  | 55  | cooking | 11 | pot    | steel,cast iron,enamel    | dishwasher safe,durable,lightweight,nonstick | 2 liters,4 liters,6 liters | frying pan,chef knife
frying pan       | pan     | Home    | Kitchen  | 50  | cooking | 11 | pan    | cast iron,steel,aluminum  | nonstick,dishwasher safe,durable,lightweight | | cooking pot,spatula set
spatula set      | utensils| Home    | Kitchen  | 22  | cooking | 11 | pole   | silicone,wood,bamboo      | dishwasher safe,heatproof,durable,soft | | frying pan
chef knife       | knife   | Home    | Kitchen  | 75  | cooking | 12 | pole   | steel,ceramic             | durable,lightweight,dishwasher safe,rustproof | | cutting board
cutting board    | board   | Home    | Kitchen  | 35  | cooking | 12 | box    | wood,bamboo,plastic       | durable,dishwasher safe,lightweight,washable | | chef knife
kettle           | kettle  | Home    | Kitchen  | 60  | cooking | 11 | pot    | steel,glass,enamel        | rustproof,insulated,lightweight,quiet | 1 liter,2 liters | teapot,mug
teapot           | teapot  | Home    | Kitchen  | 40  | cooking | 12 | pot    | ceramic,glass,cast iron   | dishwasher safe,insulated,durable,heatproof | | mug,kettle
mug              | mug     | Home    | Kitchen  | 16  | cooking | 12 | mug    | ceramic,enamel,glass      | dishwasher safe,insulated,durable,shockproof | | teapot
coffee grinder   | grinder | Home    | Kitchen  | 85  | cooking | 12 | pot    | steel,wood                | quiet,rechargeable,durable,lightweight | | mug,kettle
rug              | rug     | Home    | Living   | 150 | living  | 10 | box    | recycled wool,cotton,jute | soft,washable,durable,stain resistant | | cushion,floor lamp
cushion          | cushion | Home    | Living   | 30  | living  | 10 | box    | cotton,linen,velvet       | soft,washable,stain resistant,durable | | throw blanket,armchair
throw blanket    | blanket | Home    | Living   | 55  | living  | 11 | roll   | merino wool,cotton,fleece | soft,insulated,washable,lightweight | | cushion,candle
candle           | candle  | Home    | Living   | 20  | living  | 12 | bottle | soy wax,beeswax           | scented,handmade,long lasting,natural | | throw blanket
floor lamp       | lamp    | Home    | Living   | 130 | living  | 11 | lamp   | steel,wood,brass          | bright,dimmable,durable,handmade | | armchair,rug
table lamp       | lamp    | Home    | Living   | 70  | living  | 11 | lamp   | ceramic,brass,wood        | dimmable,bright,rechargeable,handmade | | floor lamp,bookshelf
armchair         | chair   | Home    | Living   | 320 | living  | 10 | chair  | velvet,leather,linen      | soft,stain resistant,durable,handmade | | cushion,floor lamp
bookshelf        | shelf   | Home    | Living   | 180 | living  | 9  | box    | wood,steel,bamboo         | durable,handmade,natural,lightweight | | table lamp
duvet            | duvet   | Home    | Bedroom  | 110 | living  | 11 | roll   | down,cotton,merino wool   | insulated,soft,washable,breathable | single,double,king | pillow,bed linen
pillow           | pillow  | Home    | Bedroom  | 45  | living  | 10 | box    | down,foam,cotton          | soft,washable,breathable,stretchy | | bed linen,duvet
bed linen        | bed linen | Home  | Bedroom  | 80  | living  | 9  | box    | linen,cotton,bamboo       | soft,breathable,washable,natural | single,double,king | pillow
garden chair     | chair   | Garden  | Furniture| 90  | garden  | 5  | chair  | wood,aluminum,steel       | rustproof,packable,durable,lightweight | | garden table,cushion
garden table     | table   | Garden  | Furniture| 210 | garden  | 5  | box    | wood,aluminum,steel       | rustproof,durable,packable,natural | | garden chair,parasol
parasol          | parasol | Garden  | Furniture| 110 | garden  | 6  | hat    | polyester,wood            | windproof,waterproof,packable,washable | | garden table
planter          | planter | Garden  | Plants   | 40  | garden  | 4  | mug    | ceramic,wood,steel        | rustproof,durable,lightweight,handmade | | watering can,pruning shears
watering can     | can     | Garden  | Plants   | 32  | garden  | 5  | pot    | steel,plastic             | rustproof,lightweight,durable,handmade | 5 liters,10 liters | planter,garden gloves
garden gloves    | gloves  | Garden  | Plants   | 16  | garden  | 4  | glove  | leather,cotton,rubber     | durable,waterproof,breathable,washable | | pruning shears,rubber boots
pruning shears   | shears  | Garden  | Plants   | 38  | garden  | 3  | pole   | steel,carbon              | durable,rustproof,lightweight,soft | | garden gloves,planter
cordless drill   | drill   | Home    | Tools    | 130 | repair  | 4  | drill  | steel,plastic             | rechargeable,quiet,durable,lightweight | | drill bits,tool box
drill bits       | bits    | Home    | Tools    | 28  | repair  | 4  | pole   | steel,titanium            | durable,rustproof,long lasting,heatproof | | cordless drill
screwdriver set  | screwdriver | Home| Tools    | 35  | repair  | 10 | pole   | steel,carbon              | durable,rustproof,soft,packable | | tool box,cordless drill
tool box         | box     | Home    | Tools    | 55  | repair  | 10 | box    | steel,plastic             | durable,waterproof,lightweight,shockproof | | screwdriver set
work light       | lamp    | Home    | Tools    | 50  | repair  | 11 | lamp   | aluminum,plastic          | bright,rechargeable,shockproof,waterproof | | cordless drill,tool box
"""

FEATURES: dict[str, tuple[str, str]] = {
    "waterproof": ("against the rain", "Keeps the rain out, even in a downpour."),
    "lightweight": ("with little weight", "So little weight that you forget you carry it."),
    "insulated": ("to keep warm", "Keeps warm when it is cold outside."),
    "durable": ("to last for years", "Built to last for years of hard use."),
    "breathable": ("with good airflow", "Good airflow, so that everything stays dry."),
    "soft": ("gentle to the touch", "Gentle to the touch and comfortable from the first day."),
    "packable": ("to fold up small", "Folds up small and fits in any luggage."),
    "stretchy": ("with some give", "Elastic, with some give where you move."),
    "windproof": ("against gusts and storms", "Stands up to gusts and storms."),
    "rechargeable": ("with a built-in battery", "The built-in battery charges over a cable."),
    "bright": ("with a strong light", "Gives a strong light that reaches far."),
    "washable": ("for the laundry", "Can go in the laundry at low temperature."),
    "dishwasher safe": ("without scrubbing by hand", "Goes in the machine: no scrubbing by hand."),
    "nonstick": ("where eggs slide off", "Coated: eggs and pancakes slide off."),
    "heatproof": ("for high temperatures", "Withstands high temperatures."),
    "rustproof": ("without corrosion", "Treated against corrosion outdoors."),
    "quiet": ("with little noise", "Makes so little noise that nobody wakes up."),
    "stain resistant": ("easy to keep clean", "Spills wipe off: easy to keep clean."),
    "dimmable": ("with adjustable brightness", "The brightness is adjustable without steps."),
    "shockproof": ("to survive a fall", "Made to survive a fall from a table."),
    "scented": ("with a pleasant smell", "Fills the room with a pleasant smell."),
    "handmade": ("by artisans", "Made by artisans, each piece a little different."),
    "long lasting": ("to go on for a long time", "Goes on for a very long time."),
    "natural": ("without chemicals", "Comes from nature and is free of chemicals."),
}
"""Feature word -> how a shopper may put it otherwise, and how a description may."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (200, 40, 40),
    "blue": (40, 80, 190),
    "green": (40, 140, 70),
    "yellow": (235, 200, 50),
    "orange": (235, 130, 40),
    "purple": (120, 60, 160),
    "black": (35, 35, 38),
    "white": (240, 240, 236),
    "gray": (140, 142, 146),
    "brown": (120, 80, 50),
    "beige": (215, 195, 160),
    "pink": (235, 140, 175),
}

BRANDS: dict[str, float] = {
    "Norvik": 1.5, "Altara": 1.3, "Fjellborg": 1.4, "Tarnwood": 1.0, "Kestrel & Pine": 1.2, "Osprio": 0.8, "Halden": 1.1,
    "Brightwater": 0.9, "Corvane": 1.6, "Lumeno": 0.7, "Mossgate": 0.8, "Quillon": 1.0, "Redfern": 0.9, "Sollund": 1.2,
    "Tindra": 1.1, "Umbria Works": 1.3, "Vesterby": 1.0, "Wildmere": 0.7, "Yarrow": 0.6, "Zephora": 0.9,
}  # fmt: skip
"""Brand -> price level."""

MODELS = (
    "Trail", "Summit", "Harbor", "Meadow", "Ridge", "Canyon", "Drift", "Ember", "Falcon", "Glacier", "Heron", "Island",
    "Juniper", "Kite", "Lagoon", "Maple", "Nomad", "Orchard", "Prairie", "Quarry", "River", "Spruce", "Thistle", "Vale",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One product type. price: median in the shop's currency; season: the month (1-12) of its peak."""

    name: str
    noun: str
    department: str
    category: str
    price: float
    activity: str
    season: int
    shape: str
    materials: tuple[str, ...]
    features: tuple[str, ...]
    sizes: tuple[str, ...]
    goes_with: tuple[str, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """Every product type."""

    def several(cell: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in cell.split(",") if part.strip())

    out = []
    for line in _KINDS.strip().splitlines():
        cell = [part.strip() for part in line.split("|")]
        name, noun, department, category, price, activity, season, shape = cell[:8]
        materials, features, sizes, goes_with = (several(part) for part in cell[8:12])
        out.append(
            Kind(
                name, noun, department, category, float(price), activity, int(season), shape,
                materials, features, sizes, goes_with,
            )
        )  # fmt: skip
    return tuple(out)


@cache
def complements() -> np.ndarray:
    """[kinds, kinds]: the chance that what goes with a row's kind is a column's; rows sum to 1."""
    names = [kind.name for kind in kinds()]
    out = np.zeros((len(names), len(names)))
    for row, kind in enumerate(kinds()):
        known = [names.index(other) for other in kind.goes_with if other in names]
        out[row, known] = 1 / len(known)
    return out


@cache
def affinity() -> np.ndarray:
    """[activities, kinds]: how much an activity calls for a kind; rows sum to 1. A little of everything everywhere."""
    out = np.full((len(ACTIVITIES), len(kinds())), 0.02)
    for column, kind in enumerate(kinds()):
        out[ACTIVITIES.index(kind.activity), column] = 1.0
    return out / out.sum(1, keepdims=True)


@cache
def names(what: str) -> tuple[str, ...]:
    """The vocabulary of an attribute, in code order: features, colors, brands, materials, sizes (code 0: none), nouns."""
    everything: dict[str, list[str]] = {
        "features": list(FEATURES),
        "colors": list(COLORS),
        "brands": list(BRANDS),
        "materials": sorted({m for kind in kinds() for m in kind.materials}),
        "sizes": ["", *sorted({s for kind in kinds() for s in kind.sizes})],
        "nouns": sorted({kind.noun for kind in kinds()}),
    }
    return tuple(everything[what])
