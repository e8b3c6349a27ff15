"""Sentences of the world, parallel in all languages: four phrasings of each skill, one answer per skill.

Fields: `name`, `of` (its genitive), numbers `a b c`, counted objects `A B C` (subject) and `Ao Bo` (object
form, different in Russian only), `How` (question word and object), `s` the first of two steps, `r` the result
and `R` the result with its object.
"""

from __future__ import annotations

PROMPTS: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "add": {
        "en": (
            "{name} has {A} and gets {b} more. {How} does {name} have now?",
            "{name} puts {A} in one box and {B} in another. {How} are in both boxes?",
            "{name} buys {A} on Monday and {B} on Tuesday. {How} does {name} buy in two days?",
            "There are {A} on the table. {name} adds {b} more. {How} are on the table now?",
        ),
        "es": (
            "{name} tiene {A} y recibe {b} más. ¿{How} tiene {name} ahora?",
            "{name} pone {A} en una caja y {B} en otra. ¿{How} hay en las dos cajas?",
            "{name} compra {A} el lunes y {B} el martes. ¿{How} compra {name} en dos días?",
            "En la mesa hay {A}. {name} añade {b} más. ¿{How} hay ahora en la mesa?",
        ),
        "de": (
            "{name} hat {A} und bekommt {b} dazu. {How} hat {name} jetzt?",
            "{name} legt {A} in eine Kiste und {B} in eine andere. {How} sind in beiden Kisten?",
            "{name} kauft am Montag {A} und am Dienstag {B}. {How} kauft {name} in zwei Tagen?",
            "Auf dem Tisch liegen {A}. {name} legt noch {b} dazu. {How} liegen jetzt auf dem Tisch?",
        ),
        "fr": (
            "{name} a {A} et en reçoit {b} de plus. {How} a {name} maintenant ?",
            "{name} met {A} dans une boîte et {B} dans une autre. {How} y a-t-il dans les deux boîtes ?",
            "{name} achète {A} lundi et {B} mardi. {How} achète {name} en deux jours ?",
            "Sur la table, il y a {A}. {name} en ajoute {b}. {How} y a-t-il maintenant sur la table ?",
        ),
        "ru": (
            "У {of} {A}. Друг дарит ещё {b}. {How} теперь у {of}?",
            "{name} кладёт {Ao} в одну коробку и {Bo} в другую. {How} в двух коробках?",
            "{name} покупает {Ao} в понедельник и {Bo} во вторник. {How} {name} покупает за два дня?",
            "На столе {A}. {name} добавляет ещё {b}. {How} теперь на столе?",
        ),
        "zh": (
            "{name}有{A}，又得到{b}{measure}。{name}现在有{How}？",
            "{name}在一个盒子里放{A}，在另一个盒子里放{B}。两个盒子里一共有{How}？",
            "{name}星期一买了{A}，星期二买了{B}。{name}两天一共买了{How}？",
            "桌子上有{A}。{name}又放上{b}{measure}。现在桌子上有{How}？",
        ),
    },
    "subtract": {
        "en": (
            "{name} has {A} and gives away {b} of them. {How} does {name} have left?",
            "There are {A} in a box. {name} takes out {b}. {How} are left in the box?",
            "{name} needs {A} and already has {b}. {How} are still missing?",
            "{name} brings {A} to the market and sells {b}. {How} does {name} take home?",
        ),
        "es": (
            "{name} tiene {A} y regala {b}. ¿{How} le quedan a {name}?",
            "En una caja hay {A}. {name} saca {b}. ¿{How} quedan en la caja?",
            "{name} necesita {A} y ya tiene {b}. ¿{How} faltan todavía?",
            "{name} lleva {A} al mercado y vende {b}. ¿{How} trae {name} a casa?",
        ),
        "de": (
            "{name} hat {A} und verschenkt {b} davon. {How} hat {name} noch?",
            "In einer Kiste sind {A}. {name} nimmt {b} heraus. {How} bleiben in der Kiste?",
            "{name} braucht {A} und hat schon {b}. {How} fehlen noch?",
            "{name} bringt {A} zum Markt und verkauft {b}. {How} bringt {name} nach Hause?",
        ),
        "fr": (
            "{name} a {A} et en donne {b}. {How} reste-t-il à {name} ?",
            "Dans une boîte, il y a {A}. {name} en retire {b}. {How} reste-t-il dans la boîte ?",
            "{name} veut {A} et en a déjà {b}. {How} manque-t-il encore ?",
            "{name} apporte {A} au marché et en vend {b}. {How} rapporte {name} à la maison ?",
        ),
        "ru": (
            "У {of} {A}. {name} отдаёт {b} из них. {How} осталось у {of}?",
            "В коробке {A}. {name} вынимает {b}. {How} осталось в коробке?",
            "{name} собирает {Ao}. Уже есть {b}. {How} ещё не хватает?",
            "{name} приносит {Ao} на рынок и продаёт {b}. {How} {name} приносит домой?",
        ),
        "zh": (
            "{name}有{A}，送出{b}{measure}。{name}还剩{How}？",
            "盒子里有{A}。{name}拿出{b}{measure}。盒子里还剩{How}？",
            "{name}需要{A}，已经有{b}{measure}。还差{How}？",
            "{name}带{A}去市场，卖掉{b}{measure}。{name}带回家{How}？",
        ),
    },
    "multiply": {
        "en": (
            "{name} has {b} bags. There are {A} in each bag. {How} does {name} have in total?",
            "{name} collects {A} every day. {How} does {name} collect in {b} days?",
            "There are {b} shelves and {name} puts {A} on each. {How} are on the shelves?",
            "{name} has {b} friends and gives each of them {A}. {How} does {name} give in total?",
        ),
        "es": (
            "{name} tiene {b} bolsas. En cada bolsa hay {A}. ¿{How} tiene {name} en total?",
            "{name} recoge {A} cada día. ¿{How} recoge {name} en {b} días?",
            "Hay {b} estantes y {name} pone {A} en cada uno. ¿{How} hay en los estantes?",
            "{name} tiene {b} amigos y da {A} a cada uno. ¿{How} da {name} en total?",
        ),
        "de": (
            "{name} hat {b} Tüten. In jeder Tüte sind {A}. {How} hat {name} insgesamt?",
            "{name} sammelt jeden Tag {A}. {How} sammelt {name} in {b} Tagen?",
            "Es gibt {b} Regale und {name} legt {A} in jedes. {How} sind in den Regalen?",
            "{name} hat {b} Freunde und gibt jedem {A}. {How} gibt {name} insgesamt?",
        ),
        "fr": (
            "{name} a {b} sacs. Dans chaque sac, il y a {A}. {How} a {name} en tout ?",
            "{name} ramasse {A} chaque jour. {How} ramasse {name} en {b} jours ?",
            "Il y a {b} étagères et {name} met {A} sur chacune. {How} y a-t-il sur les étagères ?",
            "{name} a {b} amis et donne {A} à chacun. {How} donne {name} en tout ?",
        ),
        "ru": (
            "У {of} {bags}. В каждом пакете {A}. {How} всего у {of}?",
            "{name} собирает {Ao} каждый день. {How} {name} собирает за {days}?",
            "В комнате {shelves}, и {name} кладёт {Ao} на каждую. {How} на полках?",
            "У {of} {friends}. Каждому {name} даёт {Ao}. {How} {name} даёт всего?",
        ),
        "zh": (
            "{name}有{b}个袋子，每个袋子里有{A}。{name}一共有{How}？",
            "{name}每天收集{A}。{name}{b}天一共收集{How}？",
            "有{b}个架子，{name}在每个架子上放{A}。架子上一共有{How}？",
            "{name}有{b}个朋友，给每个朋友{A}。{name}一共给出{How}？",
        ),
    },
    "add_subtract": {
        "en": (
            "{name} has {A}, gets {b} more and then loses {c}. {How} does {name} have at the end?",
            (
                "There are {A} in a box. {name} puts in {b} more and takes out {c}. "
                "{How} are in the box at the end?"
            ),
            "{name} buys {A} and then {b} more. Later {name} gives away {c}. {How} are left?",
            (
                "A shop has {A}. In the morning {b} more arrive, and {name} buys {c}. "
                "{How} are left in the shop?"
            ),
        ),
        "es": (
            "{name} tiene {A}, recibe {b} más y luego pierde {c}. ¿{How} tiene {name} al final?",
            "En una caja hay {A}. {name} mete {b} más y saca {c}. ¿{How} hay al final en la caja?",
            "{name} compra {A} y después {b} más. Más tarde {name} regala {c}. ¿{How} quedan?",
            (
                "Una tienda tiene {A}. Por la mañana llegan {b} más y {name} compra {c}. "
                "¿{How} quedan en la tienda?"
            ),
        ),
        "de": (
            "{name} hat {A}, bekommt {b} dazu und verliert dann {c}. {How} hat {name} am Ende?",
            (
                "In einer Kiste sind {A}. {name} legt {b} dazu und nimmt {c} heraus. "
                "{How} sind am Ende in der Kiste?"
            ),
            "{name} kauft {A} und dann noch {b}. Später verschenkt {name} {c}. {How} bleiben übrig?",
            "Ein Laden hat {A}. Am Morgen kommen {b} dazu, und {name} kauft {c}. {How} bleiben im Laden?",
        ),
        "fr": (
            "{name} a {A}, en reçoit {b} de plus et puis en perd {c}. {How} a {name} à la fin ?",
            "Dans une boîte, il y a {A}. {name} en ajoute {b}, puis en retire {c}. {How} y a-t-il à la fin ?",
            "{name} achète {A}, puis encore {b}. Plus tard, {name} en donne {c}. {How} reste-t-il ?",
            (
                "Un magasin a {A}. Le matin, il en arrive {b} et {name} en achète {c}. "
                "{How} reste-t-il au magasin ?"
            ),
        ),
        "ru": (
            "У {of} {A}. {name} получает ещё {b} и потом теряет {c}. {How} у {of} в конце?",
            "В коробке {A}. {name} кладёт ещё {b} и вынимает {c}. {How} в коробке в конце?",
            "{name} покупает {Ao} и потом ещё {b}. Позже {name} отдаёт {c}. {How} осталось?",
            "В магазине {A}. Утром привозят ещё {b}, и {name} покупает {c}. {How} осталось в магазине?",
        ),
        "zh": (
            "{name}有{A}，又得到{b}{measure}，然后丢了{c}{measure}。{name}最后有{How}？",
            "盒子里有{A}。{name}又放进{b}{measure}，拿出{c}{measure}。最后盒子里有{How}？",
            "{name}买了{A}，又买了{b}{measure}。后来{name}送出{c}{measure}。还剩{How}？",
            "商店有{A}。早上又到了{b}{measure}，{name}买走{c}{measure}。商店还剩{How}？",
        ),
    },
}

ANSWERS: dict[str, dict[str, str]] = {
    "add": {
        "en": "To find the total, we add {a} and {b}, which makes {R}.",
        "es": "Para hallar el total, sumamos {a} y {b}, lo que da {R}.",
        "de": "Um die Summe zu finden, addieren wir {a} und {b}, das ergibt {R}.",
        "fr": "Pour trouver le total, on additionne {a} et {b}, ce qui donne {R}.",
        "ru": "Чтобы найти сумму, складываем {a} и {b}, получается {R}.",
        "zh": "为了求总数，我们把{a}和{b}相加，得到{R}。",
    },
    "subtract": {
        "en": "To find what is left, we subtract {b} from {a}, which makes {R}.",
        "es": "Para hallar lo que queda, restamos {b} de {a}, lo que da {R}.",
        "de": "Um den Rest zu finden, ziehen wir {b} von {a} ab, das ergibt {R}.",
        "fr": "Pour trouver ce qui reste, on soustrait {b} de {a}, ce qui donne {R}.",
        "ru": "Чтобы найти остаток, вычитаем {b} из {a}, получается {R}.",
        "zh": "为了求剩余，我们从{a}减去{b}，得到{R}。",
    },
    "multiply": {
        "en": "There are {b} equal groups, so we multiply {a} by {b}, which makes {R}.",
        "es": "Hay {b} grupos iguales, así que multiplicamos {a} por {b}, lo que da {R}.",
        "de": "Es sind {b} gleiche Gruppen, also multiplizieren wir {a} mit {b}, das ergibt {R}.",
        "fr": "Il y a {b} groupes égaux, donc on multiplie {a} par {b}, ce qui donne {R}.",
        "ru": "Равных групп всего {b}, поэтому умножаем {a} на {b}, получается {R}.",
        "zh": "一共有{b}组，所以我们用{a}乘以{b}，得到{R}。",
    },
    "add_subtract": {
        "en": "First we add {a} and {b}, which makes {s}. Then we subtract {c}, which makes {R}.",
        "es": "Primero sumamos {a} y {b}, lo que da {s}. Luego restamos {c}, lo que da {R}.",
        "de": "Zuerst addieren wir {a} und {b}, das ergibt {s}. Dann ziehen wir {c} ab, das ergibt {R}.",
        "fr": "D'abord, on additionne {a} et {b}, ce qui donne {s}. "
        "Ensuite, on soustrait {c}, ce qui donne {R}.",
        "ru": "Сначала складываем {a} и {b}, получается {s}. Потом вычитаем {c}, получается {R}.",
        "zh": "首先把{a}和{b}相加，得到{s}。然后减去{c}，得到{R}。",
    },
}

# One step on its own: practice in calculating, without a story.
DRILLS: dict[str, dict[str, str]] = {
    "add": {
        "en": "we add {a} and {b}, which makes {r}.",
        "es": "sumamos {a} y {b}, lo que da {r}.",
        "de": "addieren wir {a} und {b}, das ergibt {r}.",
        "fr": "on additionne {a} et {b}, ce qui donne {r}.",
        "ru": "складываем {a} и {b}, получается {r}.",
        "zh": "我们把{a}和{b}相加，得到{r}。",
    },
    "subtract": {
        "en": "we subtract {b} from {a}, which makes {r}.",
        "es": "restamos {b} de {a}, lo que da {r}.",
        "de": "ziehen wir {b} von {a} ab, das ergibt {r}.",
        "fr": "on soustrait {b} de {a}, ce qui donne {r}.",
        "ru": "вычитаем {b} из {a}, получается {r}.",
        "zh": "我们从{a}减去{b}，得到{r}。",
    },
    "multiply": {
        "en": "we multiply {a} by {b}, which makes {r}.",
        "es": "multiplicamos {a} por {b}, lo que da {r}.",
        "de": "multiplizieren wir {a} mit {b}, das ergibt {r}.",
        "fr": "on multiplie {a} par {b}, ce qui donne {r}.",
        "ru": "умножаем {a} на {b}, получается {r}.",
        "zh": "我们用{a}乘以{b}，得到{r}。",
    },
}
SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}

ANSWER_LINES = {
    "en": "\nAnswer: {r}",
    "es": "\nRespuesta: {r}",
    "de": "\nAntwort: {r}",
    "fr": "\nRéponse : {r}",
    "ru": "\nОтвет: {r}",
    "zh": "\n答案：{r}",
}
