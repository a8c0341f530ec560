"""Topics of word problems: what things, containers and places belong to each."""

from __future__ import annotations

from dataclasses import dataclass

# topic | things (plural) | containers (plural) | places; an indented line goes on with the one before
_TABLE = """
baking | cookies, muffins, rolls, cupcakes, pies, scones, tarts, bagels | trays, boxes, tins, racks | bakery, school
    kitchen, cake stall
gardening | tulips, seeds, rose bushes, bulbs, tomato plants, flower pots, daisies | rows, beds, pots, trays | garden,
    greenhouse, plant nursery
books | novels, comics, atlases, picture books, magazines, cookbooks, bookmarks | shelves, boxes, bags, piles |
    library, bookshop, reading room
sports | tennis balls, footballs, jerseys, medals, whistles, cones, water bottles | bags, baskets, lockers, boxes |
    sports club, gym, playing field
animals | rabbits, kittens, hamsters, parrots, goats, puppies, ducks | pens, cages, baskets, huts | animal shelter,
    small zoo, vet's office
a farm | eggs, pumpkins, hens, sheep bells, hay bales, carrots, corn cobs | crates, baskets, sacks, carts | farm,
    barn, village market
space | star maps, model rockets, telescopes, planet posters, moon rocks, badges | boxes, cases, shelves, bags | space
    museum, observatory, science club
music | drumsticks, guitars, song sheets, flutes, records, violin strings, posters | cases, boxes, folders, stands |
    music school, concert hall, record shop
cooking | potatoes, onions, eggs, pancakes, dumplings, peppers, sandwiches | pots, bowls, plates, pans | kitchen,
    small restaurant, cooking class
a school fair | tickets, balloons, prizes, paper hats, lemonade cups, raffle tickets | boxes, bags, stalls, tables |
    school fair, school hall, schoolyard
shopping | apples, pens, socks, candles, soap bars, notebooks, towels | bags, carts, boxes, baskets | shopping centre,
    corner shop, street market
camping | tents, torches, marshmallows, sleeping bags, tent pegs, maps, matches | backpacks, boxes, bags, crates |
    campsite, forest camp, scout camp
the beach | shells, sandcastles, pebbles, beach balls, sunhats, towels, kites | buckets, bags, jars, boxes | beach,
    harbour, surf school
birds | feathers, nests, bird boxes, parrots, owls, ducks, swans | cages, boxes, trees, baskets | bird park, nature
    reserve, duck pond
a bus trip | passengers, tickets, suitcases, seats, sandwiches, maps | buses, bags, rows, racks | bus station, bus
    depot, visitor centre
trains | carriages, tickets, model trains, passengers, parcels, signal lamps | trains, boxes, wagons, racks | train
    station, railway museum, model railway club
art | paintbrushes, crayons, sketches, paint tubes, canvases, postcards, frames | jars, boxes, folders, cases | art
    room, gallery, painting class
knitting | scarves, mittens, wool balls, buttons, hats, blankets, needles | baskets, drawers, bags, boxes | knitting
    club, wool shop, craft fair
a toy shop | dolls, puzzles, marbles, toy cars, teddy bears, yo-yos, kites | shelves, boxes, bags, bins | toy shop,
    playroom, toy fair
fishing | hooks, worms, trout nets, fishing rods, floats, boats, lures | boxes, buckets, nets, jars | lake, fishing
    pier, harbour
a picnic | sandwiches, cherries, napkins, plums, cupcakes, juice boxes, plates | baskets, bags, blankets, coolers |
    park, lakeside, picnic ground
a library | library cards, books, maps, bookmarks, posters, newspapers | shelves, carts, drawers, boxes | town
    library, school library, reading club
collecting stamps | stamps, stickers, coins, postcards, badges, albums | albums, pages, boxes, envelopes | collectors'
    fair, post office, hobby club
movies | movie tickets, posters, popcorn bags, films, cushions, drinks | boxes, rows, shelves, bags | cinema, film
    club, ticket office
weather | rain gauges, snowballs, umbrellas, weather maps, raincoats, sun charts | boxes, racks, bags, drawers |
    weather station, ski hill, science room
recycling | bottles, cans, newspapers, cardboard boxes, jars, batteries, bags | bins, crates, sacks, vans | recycling
    centre, school yard, bottle bank
building | bricks, nails, planks, tiles, screws, bolts, ladders | crates, boxes, stacks, buckets | building site,
    workshop, hardware shop
a birthday party | balloons, candles, presents, paper cups, party hats, cupcakes, games | bags, boxes, tables, plates
    | birthday party, community hall, back garden
a bicycle shop | bicycles, helmets, bells, tyres, spokes, pumps, lamps | racks, boxes, shelves, hooks | bicycle shop,
    repair stand, cycling club
a hospital | bandages, thermometers, beds, gloves, blankets, pillows, masks | boxes, trolleys, cupboards, rooms |
    hospital, clinic, first aid tent
chess | chess sets, trophies, pawns, boards, clocks, medals, score sheets | boxes, tables, cases, bags | chess club,
    school tournament, games room
coins | coins, tokens, gold coins, silver coins, medals, banknotes | jars, bags, purses, piles | coin fair, bank, museum
flowers | roses, tulips, lilies, daisies, sunflowers, orchids, violets | vases, bunches, buckets, baskets | flower
    shop, garden show, flower market
fruit | apples, pears, oranges, lemons, peaches, bananas, plums, mangoes | crates, bowls, bags, baskets | fruit stall,
    orchard, juice bar
the zoo | monkeys, penguins, tickets, flamingos, tortoises, toy lions, fish buckets | enclosures, boxes, cages, carts
    | zoo, safari park, petting zoo
robots | robots, batteries, wheels, sensors, motors, wires, circuit boards | boxes, kits, drawers, crates | robot lab,
    science fair, robot club
a museum | fossils, statues, tickets, old vases, paintings, postcards, masks | cases, rooms, shelves, boxes | museum,
    museum shop, exhibition
swimming | swimsuits, towels, swim caps, medals, lockers, floats, badges | bags, boxes, lanes, shelves | swimming
    pool, swim club, lake
winter | snowballs, mittens, sledges, scarves, snowmen, skates, hot drinks | boxes, bags, hooks, shelves | ice rink,
    ski hut, winter market
a restaurant | plates, pizzas, spoons, menus, tables, noodle bowls, napkins | trays, shelves, boxes, racks |
    restaurant, pizza place, cafe
a post office | letters, parcels, stamps, envelopes, postcards, packets | sacks, boxes, vans, trays | post office,
    mail room, sorting hall
photography | photos, cameras, frames, albums, lenses, film rolls | albums, boxes, pages, bags | photo shop, photo
    club, studio
computers | keyboards, mouse pads, cables, laptops, screens, memory cards | boxes, shelves, desks, bags | computer
    lab, repair shop, coding club
a forest walk | pine cones, acorns, mushrooms, leaves, chestnuts, feathers, sticks | bags, baskets, jars, buckets |
    forest, nature trail, park
a theatre | tickets, costumes, masks, wigs, seats, programmes, stage lamps | rows, boxes, racks, trunks | theatre,
    drama club, town hall
bees and honey | honey jars, beehives, candles, bees, flowers, honey cakes | boxes, crates, rows, shelves | bee farm,
    honey stall, meadow
kites | kites, ribbons, tails, sticks, string rolls, flags | bags, boxes, racks, bundles | kite festival, hilltop, beach
sailing | ropes, boats, flags, life jackets, anchors, sails | boxes, boats, lockers, racks | sailing club, marina,
    boat yard
pottery | bowls, mugs, vases, tiles, plates, clay pots | shelves, boxes, kilns, trays | pottery class, studio, craft
    market
a science class | test tubes, magnets, beakers, batteries, bulbs, lenses, worksheets | racks, boxes, drawers, tables |
    science room, school lab, science fair
a charity sale | scarves, books, mugs, lamps, coats, puzzles, vases | boxes, bags, tables, crates | charity shop,
    church hall, town square
astronomy | star charts, lenses, telescopes, notebooks, planet models, photos | boxes, cases, shelves, folders |
    observatory, planetarium, hilltop
"""


@dataclass(frozen=True)
class Topic:
    """One topic: its name and the nouns its problems use."""

    name: str
    things: tuple[str, ...]
    containers: tuple[str, ...]
    places: tuple[str, ...]


def _parse_line(line: str) -> Topic:
    name, *lists = (part.strip() for part in line.split("|"))
    things, containers, places = (tuple(word.strip() for word in part.split(",")) for part in lists)
    return Topic(name, things, containers, places)


TOPICS: dict[str, Topic] = {
    topic.name: topic for topic in map(_parse_line, _TABLE.replace("\n    ", " ").strip().splitlines())
}

_IRREGULAR = {
    "shelves": "shelf",
    "leaves": "leaf",
    "scarves": "scarf",
    "loaves": "loaf",
    "snowmen": "snowman",
    "buses": "bus",
    "movies": "movie",
    "cookies": "cookie",
    "pies": "pie",
    "potatoes": "potato",
    "mangoes": "mango",
    "canvases": "canvas",
    "cherries": "cherry",
    "daisies": "daisy",
    "lilies": "lily",
    "trophies": "trophy",
    "puppies": "puppy",
    "batteries": "battery",
    "vases": "vase",
    "cases": "case",
    "suitcases": "suitcase",
    "peaches": "peach",
    "orchids": "orchid",
    "matches": "match",
    "torches": "torch",
    "boxes": "box",
    "benches": "bench",
    "sketches": "sketch",
    "sandwiches": "sandwich",
    "atlases": "atlas",
    "lenses": "lens",
    "tortoises": "tortoise",
    "purses": "purse",
    "hooks": "hook",
    "enclosures": "enclosure",
    "paintbrushes": "paintbrush",
    "rose bushes": "rose bush",
    "branches": "branch",
    "bunches": "bunch",
    "dishes": "dish",
}


def singular(plural: str) -> str:
    """The singular of a plural noun of the table ("picture books" gives "picture book")."""
    if plural in _IRREGULAR:
        return _IRREGULAR[plural]
    head, _, last = plural.rpartition(" ")
    last = _IRREGULAR.get(last, last.removesuffix("s"))
    return f"{head} {last}".strip()
