"""Concepts of school subjects with short definitions of our own: the stuff of exam questions."""

from __future__ import annotations

# subject; then lines `term | what it is | what it does or is known for`
_TABLE = """
biology
mitosis | a division of one cell into two with the same chromosomes | lets tissue grow and heal
osmosis | the movement of water through a membrane toward the saltier side | keeps plant cells firm
a ribosome | a small body in the cell that builds proteins | reads messenger RNA
chlorophyll | the green pigment of leaves | catches light for photosynthesis
an enzyme | a protein that speeds up a reaction | lowers the activation energy
a vaccine | a harmless piece of a germ given on purpose | trains the immune system
natural selection | the survival of those forms that fit their surroundings | shapes species over many generations
a neuron | a cell that carries electrical signals | passes messages through synapses
the kidney | an organ that filters the blood | controls the salt and water of the body
a predator | an animal that hunts others for food | limits the number of its prey
insulin | a hormone from the pancreas | lowers the sugar in the blood
a virus | a packet of genes in a coat of protein | needs a host cell to multiply
physics
friction | a force between two surfaces that rub | slows down moving bodies
inertia | the tendency of a body to keep its motion | grows with mass
a lever | a rigid bar that turns about a pivot | trades force for distance
refraction | the bending of light between two materials | makes a straw in water look broken
an electric current | a flow of charge through a conductor | is measured in amperes
entropy | a measure of disorder | never falls in a closed system
kinetic energy | the energy of motion | grows fourfold when the speed doubles
a transformer | two coils around one iron core | changes the voltage of alternating current
buoyancy | an upward push from a fluid | equals the weight of the fluid displaced
resonance | a strong swing at a matching frequency | can shake a bridge apart
chemistry
a catalyst | a substance that speeds up a reaction without being used up | opens an easier path
an acid | a substance that gives away protons | turns blue litmus red
an isotope | a form of an element with another number of neutrons | has nearly the same chemistry
a covalent bond | a pair of electrons shared by two atoms | holds molecules together
oxidation | a loss of electrons | happens when iron rusts
a solution | an even mixture of a solute in a solvent | lets light pass through
distillation | a separation by boiling points | is used to make spirits and fuels
a polymer | a long chain of small repeating units | makes up plastics and proteins
economics
inflation | a general rise of prices | lowers what a wage can buy
a monopoly | a market with a single seller | lets the seller set the price
supply and demand | the two sides of a market | meet at the equilibrium price
a tariff | a tax on goods from abroad | protects makers at home
opportunity cost | the value of the best choice not taken | is paid whenever something scarce is used
gross domestic product | the value of all goods and services made in a country in a year | is a measure of output
a recession | a fall of output over several months | raises unemployment
fiscal policy | the use of taxes and public spending | is decided by the government
marginal utility | the extra benefit of one more unit | falls as more is consumed
an externality | a cost or benefit for somebody outside the deal | makes market prices misleading
law
a contract | an agreement that courts will enforce | needs offer, acceptance and consideration
negligence | a failure to take reasonable care | makes the defendant liable for damages
hearsay | a statement made outside the court and offered for its truth | is usually not admitted
a statute | a law passed by a legislature | can be struck down by a court
a plaintiff | the person who brings a suit | carries the burden of proof
an easement | a right to use land of somebody else | often serves as a path to a road
jurisdiction | the power of a court to hear a case | depends on place and subject
an injunction | an order to do or to stop something | is granted when money is no remedy
double jeopardy | a second trial for the same offense | is barred by the constitution
a trust | property held by one person for the good of another | binds the trustee
history
feudalism | an order of lords, vassals and serfs | tied land to military service
the printing press | a machine for making many copies of a page | spread learning through Europe
mercantilism | a policy of hoarding gold through exports | led to colonies and trade wars
the industrial revolution | the change from hand work to machines | drew people into the cities
the Silk Road | a net of trade routes across Asia | carried goods and ideas
an armistice | an agreement to stop fighting | comes before a treaty of peace
a plebiscite | a vote of the whole people on one question | settles who rules a region
the Renaissance | a rebirth of classical learning | began in the cities of Italy
psychology
conditioning | learning by association | was studied with dogs and bells
short-term memory | a store for a few items and seconds | holds about seven things
cognitive dissonance | the discomfort of clashing beliefs | makes people change their minds
a placebo | a treatment without an active part | helps because the patient expects it to
reinforcement | a reward that makes an act more likely | shapes behavior
confirmation bias | a taste for evidence that agrees | keeps old opinions alive
attachment | a lasting bond of an infant to a caregiver | gives a base from which to explore
empathy | the ability to feel what another feels | supports helping
computing
a stack | a list where the last thing in is the first thing out | keeps track of function calls
recursion | a function that calls itself | needs a base case to end
a compiler | a program that turns source code into machine code | reports errors of type and syntax
a hash table | a store that finds values by key | takes constant time on average
an operating system | the program that shares out the hardware | schedules processes
encryption | the scrambling of data with a key | keeps messages secret
a cache | a small, fast store of recent data | saves slow reads
a deadlock | two processes that wait for each other forever | is avoided by ordering locks
a database index | a sorted copy of a column | makes searches quick
machine learning | the fitting of models to examples | improves with more data
overfitting | a model that learns the noise of its training data | fails on new examples
mathematics
a prime number | a whole number above one with no other divisors | cannot be factored
a derivative | the rate at which a function changes | is the slope of the tangent
an integral | the area under a curve | undoes differentiation
the mean | the sum of the values divided by their number | is pulled by outliers
the median | the value in the middle of a sorted list | ignores outliers
a vector | a quantity with size and direction | can be added head to tail
a polynomial | a sum of powers with coefficients | has as many roots as its degree
probability | a number between zero and one | tells how likely an event is
a matrix | a table of numbers in rows and columns | describes a linear map
a normal subgroup | a subgroup that is fixed under conjugation | gives a quotient group
geography
erosion | the wearing away of rock and soil | carves valleys
a delta | land built by a river at its mouth | is fertile and flat
a monsoon | a wind that turns with the seasons | brings heavy rain
latitude | the distance north or south of the equator | decides how high the sun stands
a glacier | a slow river of ice | leaves moraines behind
urbanization | the growth of cities | changes how land is used
philosophy
utilitarianism | the view that acts are judged by the happiness they bring | asks for the greatest good
empiricism | the view that knowledge comes from the senses | was held by Locke and Hume
a syllogism | an argument with two premises and a conclusion | can be valid with false premises
determinism | the view that every event has a cause | seems to leave no room for free will
a social contract | an agreement to give up some freedom for safety | explains why laws bind us
stoicism | the view that virtue is enough for happiness | teaches calm in the face of loss
medicine
anemia | a lack of red blood cells or hemoglobin | makes patients pale and tired
a fracture | a break in a bone | shows up on an x-ray
hypertension | a high pressure in the arteries | strains the heart
asthma | a swelling and narrowing of the airways | causes wheezing
an antibiotic | a drug that kills bacteria | does nothing against a virus
a stroke | a loss of blood flow to part of the brain | may leave one side weak
diabetes | a failure to control blood sugar | is treated with diet and insulin
pneumonia | an infection of the lungs | brings fever and cough
business
a budget | a plan of income and spending | helps to set priorities
marketing | the work of finding and keeping customers | begins with research
a balance sheet | a list of what a firm owns and owes | is drawn up at the end of the year
a stakeholder | anyone who gains or loses by what a firm does | should be consulted early
branding | the making of a name that people know | builds trust over time
a supply chain | the path of goods from maker to buyer | breaks at its weakest link
"""


def concepts() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """By subject: (term, definition, effect)."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    subject = ""
    for line in _TABLE.strip().splitlines():
        if "|" in line:
            term, definition, effect = line.split(" | ")
            found[subject].append((term, definition, effect))
        else:
            subject = line
            found[subject] = []
    return {name: tuple(rows) for name, rows in found.items()}
