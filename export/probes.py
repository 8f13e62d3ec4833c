"""Plain sentences in each language: what an export translates, compares with its checkpoint, and remembers."""

PROBES: dict[str, tuple[str, ...]] = {
    "en": (
        "Hello everyone, and welcome back to the channel.",
        "Today we are going to talk about the history of this city.",
        "Yes.",
        "The museum opens at 10 o'clock and closes at 6.",
        "Where did you put the keys?",
        "Water boils at 100 degrees, and it freezes at zero.",
    ),
    "hy": ("Բարև ձեզ, սիրելի ընկերներ։", "Այսօր մենք կխոսենք քաղաքի պատմության մասին։", "Ո՞ւր է գիրքը։", "Այո։"),
    "ru": ("Здравствуйте, дорогие друзья.", "Сегодня мы поговорим об истории этого города.", "Где ключи?", "Да."),
    "es": ("Hola a todos y bienvenidos.", "Hoy vamos a hablar de la historia de esta ciudad.", "¿Dónde está?", "Sí."),
    "fr": (
        "Bonjour à tous et bienvenue.",
        "Nous parlons de l'histoire de la ville.",
        "Où est-il ?",
        "Oui.",
    ),
    "de": ("Hallo zusammen und willkommen.", "Heute sprechen wir über die Geschichte der Stadt.", "Wo ist er?", "Ja."),
    "it": ("Ciao a tutti e benvenuti.", "Oggi parliamo della storia di questa città.", "Dove sono le chiavi?", "Sì."),
    "pt": ("Olá a todos e bem-vindos.", "Hoje vamos falar da história desta cidade.", "Onde está a chave?", "Sim."),
    "zh": ("大家好，欢迎回来。", "今天我们来谈谈这座城市的历史。", "钥匙在哪里？", "是的。"),
    "ja": ("皆さん、こんにちは。", "今日はこの町の歴史についてお話しします。", "鍵はどこですか。", "はい。"),
}
