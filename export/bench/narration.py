"""What the recognition benchmark reads aloud: sentences of three to ten seconds, written for it.

Names and abbreviations are left out, since nobody's ear can tell how they are spelt; numbers are written as words,
which the normaliser turns into digits on both sides.
"""

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The last train leaves at half past nine, so we should walk to the station now.",
        "She keeps the old letters in a wooden box under the bed.",
        "Nobody knew why the bridge had been closed, and nobody asked.",
        "Most of the bread in this village is still baked in a stone oven.",
        "If the wind turns to the north, the boats will stay in the harbour.",
        "The teacher drew a circle on the board and waited for an answer.",
        "We planted twelve apple trees behind the house, and nine of them survived the winter.",
        "Put the kettle on, please, and close the window before the rain comes in.",
        "A good map shows you the way, but it cannot tell you where you want to go.",
        "The museum bought the painting for a small sum, because the signature was missing.",
        "Every evening, an old man feeds the birds on the square in front of the church.",
        "The engine made a strange noise and then stopped in the middle of the road.",
        "They counted the votes again, and this time the result was different.",
        "My sister learned to swim before she could walk, at least that is what she says.",
        "The doctor asked him to rest for three days and to drink a lot of water.",
        "It took the workers eleven months to build the tunnel under the mountain.",
        "The shop sells paper, pencils, brushes, and everything else that a painter needs.",
        "When the lights went out, the orchestra simply kept on playing.",
        "There is enough food for everybody, but somebody has to carry it up the hill.",
        "The river froze that winter, and the children crossed it on their way to school.",
    ),
    "es": (
        "El tren sale a las nueve de la noche, así que tenemos que caminar rápido.",
        "Mi abuela guarda las cartas viejas en una caja de madera.",
        "Todas las mañanas los niños cruzan el puente para ir a la escuela.",
        "El médico le dijo que bebiera mucha agua y que descansara tres días.",
        "En el pueblo todavía se hace el pan en un horno de piedra.",
        "La profesora escribió una pregunta en la pizarra y esperó la respuesta.",
    ),
    "de": (
        "Der letzte Zug fährt um neun Uhr, deshalb gehen wir jetzt zum Bahnhof.",
        "Meine Großmutter hat die alten Briefe in einer Kiste aus Holz.",
        "Jeden Morgen gehen die Kinder über die Brücke in die Schule.",
        "Der Arzt sagte ihm, er solle viel Wasser trinken und drei Tage ruhen.",
        "In diesem Dorf wird das Brot noch immer in einem Ofen aus Stein gebacken.",
        "Die Lehrerin schrieb eine Frage an die Tafel und wartete auf die Antwort.",
    ),
}
