"""What passwords are made of that attackers try first, as data.

No public list of leaked passwords is copied: nearly all in them are shorter than ours may be, and their licences are
unclear. These words were written down for the appliance: what such lists are known to hold (words for passwords and
greetings, names, animals, teams, games, seasons), in English and in German, and how keys lie on keyboards. What is
put together from few of these and numbers counts as common, so a word here stands for thousands of passwords.
"""

from __future__ import annotations

from typing import Final

# In small letters, and without figures that stand for letters: `passw0rd` is read as `password`.
_WORDS: Final = """
    password passwort passphrase passwd pass kennwort parole secret secrets geheim geheimnis private privat access
    zugang login logon logmein signin account konto welcome willkommen hello hallo guten morgen servus bonjour ciao
    letmein lassmichrein changeme change aendermich default standard temporary temp initial start neustart
    test testing tester teste demo example beispiel sample muster mustermann blabla asdf whatever nothing egal
    admin administrator administration root superuser sysadmin system server service support helpdesk user benutzer
    guest gast office buero work arbeit firma company business gmbh chef boss manager master meister super
    computer laptop internet windows microsoft google apple iphone android samsung linux ubuntu debian oracle cisco
    facebook instagram twitter youtube netflix amazon appliance openwebui chatgpt openai llama
    iloveyou iloveu loveyou love lovely lover liebe ichliebedich liebling schatz schatzi honey baby babygirl
    princess prinzessin prinz prince queen king koenig angel engel sweet sweetheart darling forever always beautiful
    sunshine sonnenschein sonne moonlight mond sterne star starwars stars sky himmel heaven hell rainbow regenbogen
    flower flowers blume blumen rose butterfly schmetterling summer sommer winter spring fruehling herbst autumn
    fall season january february march april june july august september october november december januar februar
    maerz juni juli oktober dezember monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch
    donnerstag freitag samstag sonntag today heute morning christmas weihnachten easter ostern birthday geburtstag
    football fussball soccer baseball basketball hockey tennis golf champion winner player gamer gaming pokemon
    minecraft fortnite warcraft callofduty counterstrike nintendo playstation xbox batman superman spiderman ironman
    superhero hero ninja samurai pirate dragon drache tiger lion loewe wolf bear panther eagle adler phoenix unicorn
    einhorn monkey donkey horse pferd pferde dog dogs hund hunde cat cats katze katzen kitty kitten puppy mouse maus
    rabbit hase dolphin delfin shark turtle snoopy mickey garfield simba nemo
    bayern bvb borussia dortmund schalke hamburg berlin muenchen koeln frankfurt stuttgart leipzig dresden wien
    zuerich london paris america american germany deutschland austria schweiz england liverpool chelsea arsenal
    manchester united barcelona realmadrid juventus cowboys lakers yankees steelers eagles newyork texas california
    ferrari porsche mercedes audi volkswagen toyota honda harley corvette mustang camaro kawasaki yamaha ducati
    metallica nirvana eminem slipknot linkinpark beatles elvis madonna rockstar music musik guitar gitarre
    chocolate schokolade cookie cookies cheese kaese banana orange apple apfel cherry strawberry peanut pepper coffee
    kaffee pizza bier beer whiskey vodka icecream sugar zucker
    green gruen black schwarz white weiss silver silber golden gold purple yellow gelb blue blau red
    michael michelle jennifer jessica ashley amanda daniel daniela david robert thomas andrew andreas anthony matthew
    joshua nicole nicholas jordan charlie charlotte george william alexander alexandra benjamin jonathan christian
    christina christopher sebastian stefan stefanie martin martina peter petra markus matthias wolfgang juergen
    klaus dieter hans helmut manfred frank sabine susanne monika claudia birgit angelika katharina julia laura lisa
    lena leonie marie maria anna hannah sarah sophie lukas felix florian philipp tobias patrick dennis kevin marcel
    oliver max maximilian leon paul jonas tim hunter harley ranger buster maggie bailey jasmine samantha elizabeth
    victoria veronica natalie vanessa melanie sandra andrea barbara
    mueller schmidt schneider fischer weber meyer wagner becker schulz hoffmann smith johnson williams brown jones
    trustno trustnoone nopassword mypassword meinpasswort thisismypassword abcdef secure security sicher sicherheit
    hacker hacking killer matrix freedom freiheit peace frieden family familie friends freunde friend freund mother
    mutter mama father vater papa sister brother bruder children kinder money geld million millionaire lucky glueck
    happy gluecklich power energy thunder lightning hardcore fucking fuckyou fuckoff asshole bitch scheisse arschloch
    motherfucker pussy sexy horny hotstuff
    jesus christ jesuschrist god gott blessed blessing faith hope grace amen
    awesome cool great perfect unbelievable incredible impossible hercules apollo zeus odin merlin gandalf
    the and you are my mein meine dein ist das der die ich bin du in for one two three four five six seven
"""
WORDS: Final = frozenset(_WORDS.split())

# Rows and slopes of keyboards (QWERTY, QWERTZ, AZERTY), the alphabet and figures: any piece of one, in either
# direction, and of two that are typed by turns.
_WALKS: Final = """
    qwertyuiop[] qwertzuiopü azertyuiop asdfghjkl;' asdfghjklöä qsdfghjklm zxcvbnm,./ yxcvbnm,.- wxcvbn
    abcdefghijklmnopqrstuvwxyz 0123456789012345678901234567890 1234567890-= 1234567890ß
    !@#$%^&*()_+ !"§$%&/()=?
    qazwsxedcrfvtgbyhnujmikolp qaywsxedcrfvtgbzhnujmikolp 1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p
    1qay2wsx3edc4rfv5tgb6zhn7ujm8ik9ol0p 1q2w3e4r5t6y7u8i9o0p 1q2w3e4r5t6z7u8i9o0p q1w2e3r4t5y6u7i8o9p0
    q1w2e3r4t5z6u7i8o9p0 a1b2c3d4e5f6g7h8i9 1a2b3c4d5e6f7g8h9i aabbccddeeffgg 112233445566778899 aassddffgghhjjkkll
    qqwweerrttyyuuiioopp qqwweerrttzzuuiioopp 147258369 159357258456 741852963 789456123 4711 0815
"""
WALKS: Final = tuple(_WALKS.split())
