/** Class names of the themes of things, each with the other names under which sets file the same drawing. */

export const animalNames = `
ant | bat | bear: bear face | bee: honeybee, bumblebee | bird | blowfish | boar | butterfly | camel: two hump camel | cat: cat face
chicken: hen | cow: cow face | crab | cricket | crocodile | deer | dog: dog face | dolphin | dove: dove of peace | dragon: dragon face
duck | eagle | elephant | fish | fox: fox face | frog: frog face | goat | gorilla | hamster: hamster face | horse: horse face
koala | leopard | lion: lion face | lizard | monkey: monkey face | mosquito | octopus | owl | ox: water buffalo | panda: panda face
penguin | pig: pig face | poodle | rabbit: rabbit face | ram | rat | rhinoceros | rooster | scorpion | shark | shrimp | snail
snake | spider | squid | tiger: tiger face | tropical fish | turkey | turtle | unicorn: unicorn face | whale: spouting whale | wolf: wolf face`;

export const foodNames = `
avocado | bacon | banana | beer: beer mug | bread: bread slice | burrito | candy | carrot | cheese: cheese wedge | cherries: cherry
chocolate bar: chocolate | cocktail: cocktail glass, martini, martini glass | cookie | corn: ear of corn | croissant | cucumber
curry: curry rice | doughnut: donut | egg | eggplant: aubergine | french fries: fries | garlic | grapes: grape | green apple
hamburger: burger | honey: honey pot | hot dog | hot pepper: pepper hot, chili, chili pepper | ice cream | lemon | lollipop | meat on bone
melon | milk: glass of milk | mushroom | pancakes | peach | pear | pie | pineapple | pizza | popcorn | potato | poultry leg: chicken leg, drumstick
red apple: apple | rice ball: onigiri | rice bowl: cooked rice, bowl rice | salad: green salad | sandwich | shortcake: cake slice
shrimp: fried shrimp | soft ice cream: soft serve | spaghetti: pasta | strawberry | sushi | taco | tangerine: orange, mandarin | tea: teacup without handle
tomato | watermelon | wine: wine glass`;

export const transportNames = `
airplane: plane | ambulance | bicycle: bike | bus | cable car: aerial tramway | canoe: kayak | car: automobile | delivery truck: truck delivery
ferry | fire engine: fire truck, firetruck | flying saucer: ufo | helicopter | high speed train: bullet train | kick scooter: scooter
locomotive: steam locomotive | lorry: articulated lorry | metro: subway | minibus: van | monorail | motor boat: motorboat | motor scooter: moped
motorcycle: motorbike | mountain railway | parachute | police car | racing car: race car | railway car | rocket | sailboat: sailing
satellite | ship | skateboard | speedboat | taxi | tractor | train | tram | trolleybus | truck`;

export const weatherNames = `
celsius | cloud: cloudy | cloudy night: cloud moon, partly cloudy night, cloudy moon | crescent moon: moon, clear night
drizzle: cloud drizzle, weather drizzle | fahrenheit | flood | fog: cloud fog, foggy, weather fog, weather foggy
full moon | hail: cloud hail, weather hail | haze: weather haze | humidity | hurricane: cyclone, weather hurricane | lightning: cloud lightning, cloud bolt, cloud with lightning, weather lightning
mist: weather mist | new moon | partly cloudy: cloud sun, partly cloudy day, sun behind cloud, cloudy day, sun cloud, weather partly cloudy
rain: cloud rain, cloud with rain, rainy, weather rainy, weather rain | rain at night: cloud moon rain, partly cloudy night rain | rainbow
sleet: cloud sleet, weather sleet | snow: cloud snow, cloud with snow, snowy, weather snowy, weather snow | snowflake | snowman: snowman without snow
sun: sunny, clear day, weather sunny | sun and rain: cloud sun rain, sun behind rain cloud, partly cloudy day rain | sunrise | sunset: sun set, weather sunset
thermometer | thunderstorm: cloud with lightning and rain, thunderstorms, weather thunderstorm | tornado: weather tornado | umbrella
wind: windy, weather windy`;
