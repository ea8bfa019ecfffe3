//! Text in, words out.

use std::borrow::Cow;

use proptest::prelude::*;
use speech_core::{Language, MAX_SPOKEN, MAX_TEXT, Piece, Reading, Template};

fn value(name: &str) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match name {
        "name" => "Ana",
        "phone" => "+62 812-3456",
        "sum" => "1250000",
        "due" => "2026-01-16",
        "markup" => "<b>{stop:9s}</b> [[h]]\u{7}",
        "bad" => "soon",
        _ => return None,
    }))
}

fn said(language: Option<Language>, text: &str) -> String {
    let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let words = |piece: &Piece| match piece {
        Piece::Words { text, rate: 100 } => text.clone(),
        Piece::Words { text, rate } => format!("<{rate}>{text}"),
        Piece::Silence(_) => piece.to_string(),
    };
    template.expand(language, value).iter().map(words).collect::<Vec<_>>().join("|")
}

fn check(language: Language, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(said(Some(language), text), *expected, "{language:?}: {text}");
    }
}

/// The rows that the requirements give (G8 to G12).
#[test]
fn the_requirements_own_examples() {
    check(
        Language::English,
        &[
            ("{date:2026-01-16}", "January 16th, 2026"),
            ("{currency:199 CNY}", "One hundred and ninety-nine yuan"),
            ("one{stop:1s}two", "one|[1000 ms]|two"),
            ("{digits:{phone}}", "Plus six two eight one two three four five six"),
            ("{letters:{name}}", "A, N, A"),
        ],
    );
}

#[test]
fn english() {
    check(
        Language::English,
        &[
            ("Hello {name}!", "Hello Ana!"),
            (
                "You owe {currency:{sum} IDR} by {date:{due}}.",
                "You owe one million two hundred and fifty thousand rupiah by January 16th, 2026.",
            ),
            ("Thanks. {currency:2 USD} it is", "Thanks. Two dollars it is"),
            ("pay {currency:1 USD}", "pay one dollar"),
            ("pay {currency:$1.01}", "pay one dollar and one cent"),
            (
                "pay {currency:USD 1,234.5}",
                "pay one thousand two hundred and thirty-four dollars and fifty cents",
            ),
            ("pay {currency:-0.99 EUR}", "pay minus ninety-nine cents"),
            ("pay {currency:0 GBP}", "pay zero pounds"),
            ("pay {currency:1.005 KWD}", "pay one Kuwaiti dinar and five fils"),
            ("pay {currency:1.234 USD}", "pay one point two three four dollars"),
            ("pay {currency:12.5 GEL}", "pay twelve point five Georgian laris"),
            ("pay {currency:3.5 JPY}", "pay three point five yen"),
            ("pay {currency:1,500 USD}", "pay one thousand five hundred dollars"),
            ("pay {currency:1.000.000 USD}", "pay one million dollars"),
            ("pay {currency:5 XYZ}", "pay 5 XYZ"),
            ("pay {currency:{bad}}", "pay soon"),
            (
                "on {date:01/16/2026}, {date:16/01/2026}, {date:20260116}, {date:2026-01-16T10:00:00Z}",
                "on January 16th, 2026, January 16th, 2026, January 16th, 2026, January 16th, 2026",
            ),
            ("on {date:2024-02-29}", "on February 29th, 2024"),
            (
                "on {date:2026-03-01} {date:2026-03-02} {date:2026-03-03} {date:2026-03-11} {date:2026-03-12} {date:2026-03-13} {date:2026-03-21} {date:2026-03-22} {date:2026-03-23}",
                "on March 1st, 2026 March 2nd, 2026 March 3rd, 2026 March 11th, 2026 March 12th, 2026 March 13th, 2026 March 21st, 2026 March 22nd, 2026 March 23rd, 2026",
            ),
            ("on {date:{bad}}", "on soon"),
            ("code {digits:4-0*7#}", "code four zero star seven hash"),
            ("code {letters:AB-12 c}", "code A, B, one, two, C"),
            ("code {digits:B12}", "code B one two"),
            ("{{name}} }} } and {nobody}", "{name} } } and"),
        ],
    );
}

#[test]
fn indonesian() {
    check(
        Language::Indonesian,
        &[
            ("tanggal {date:2026-01-16}", "tanggal enam belas Januari dua ribu dua puluh enam"),
            ("tanggal {date:03/04/1998}", "tanggal tiga April seribu sembilan ratus sembilan puluh delapan"),
            ("bayar {currency:199 CNY}", "bayar seratus sembilan puluh sembilan yuan"),
            ("bayar {currency:Rp 15.000}", "bayar lima belas ribu rupiah"),
            (
                "bayar {currency:Rp. 1.250.000,50}",
                "bayar satu juta dua ratus lima puluh ribu rupiah lima puluh sen",
            ),
            ("bayar {currency:1000.50 USD}", "bayar seribu dolar Amerika lima puluh sen"),
            ("bayar {currency:21000 IDR}", "bayar dua puluh satu ribu rupiah"),
            ("bayar {currency:1001000 IDR}", "bayar satu juta seribu rupiah"),
            ("{currency:199 CNY}", "Seratus sembilan puluh sembilan yuan"),
            ("nomor {digits:0812*#}", "nomor nol delapan satu dua bintang pagar"),
            ("kode {letters:B1}", "kode B, satu"),
        ],
    );
}

#[test]
fn vietnamese() {
    check(
        Language::Vietnamese,
        &[
            ("vào {date:2026-01-16}", "vào ngày mười sáu tháng một năm hai nghìn không trăm hai mươi sáu"),
            ("vào {date:2/4/2025}", "vào ngày mùng hai tháng tư năm hai nghìn không trăm hai mươi lăm"),
            ("trả {currency:199 CNY}", "trả một trăm chín mươi chín nhân dân tệ"),
            ("trả {currency:1.250.000 VND}", "trả một triệu hai trăm năm mươi nghìn đồng"),
            ("trả {currency:105 USD}", "trả một trăm lẻ năm đô la"),
            ("trả {currency:24,50 USD}", "trả hai mươi tư đô la năm mươi xen"),
            ("trả {currency:15000₫}", "trả mười lăm nghìn đồng"),
            ("{currency:199 CNY}", "Một trăm chín mươi chín nhân dân tệ"),
            ("số {digits:0905 14}", "số không chín không năm một bốn"),
            ("mã {letters:Đà}", "mã Đ, À"),
        ],
    );
}

#[test]
fn chinese() {
    check(
        Language::Chinese,
        &[
            ("{date:2026-01-16}", "二零二六年一月十六日"),
            ("{date:2026年12月20日}", "二零二六年十二月二十日"),
            ("{date:2026/1/2}", "二零二六年一月二日"),
            ("请付{currency:199 CNY}。", "请付一百九十九元。"),
            ("{currency:2 CNY}", "两元"),
            ("{currency:2002 CNY}", "两千零二元"),
            ("{currency:¥12.34}", "十二元三角四分"),
            ("{currency:0.20 CNY}", "两角"),
            ("{currency:5.02 CNY}", "五元零二分"),
            ("{currency:5.22 CNY}", "五元两角二分"),
            ("{currency:10,500 USD}", "一万零五百美元"),
            ("{currency:1.50 USD}", "一美元五十美分"),
            ("{currency:20000000 VND}", "两千万越南盾"),
            ("{currency:2000000000000 VND}", "两万亿越南盾"),
            ("{digits:0812}", "零八一二"),
            ("{digits:０８}", "零八"),
            ("{letters:张三A}", "张, 三, A"),
        ],
    );
}

#[test]
fn other_languages_set_characters_apart() {
    for (text, expected) in [
        ("{digits:081}", "0 8 1"),
        ("{letters:ab}", "A, B"),
        ("{date:2026-01-16} {currency:5 EUR}", "2026-01-16 5 EUR"),
    ] {
        assert_eq!(said(None, text), expected, "{text}");
    }
}

#[test]
fn ssml() {
    check(
        Language::English,
        &[
            ("<speak>Hello <break time=\"500ms\"/>{name}</speak>", "Hello|[500 ms]|Ana"),
            ("<speak version='1.1' xml:lang=\"en\">5 &lt; 6 &amp; &#65;&#x42;</speak>", "5 < 6 & AB"),
            (
                "<speak>a <say-as interpret-as=\"digits\">{phone}</say-as></speak>",
                "a plus six two eight one two three four five six",
            ),
            ("<speak>on <say-as interpret-as=\"date\">2026-01-16</say-as></speak>", "on January 16th, 2026"),
            ("<speak>of <sub alias=\"World Wide Web\">WWW</sub> fame</speak>", "of World Wide Web fame"),
            (
                "<speak>now <prosody rate=\"slow\">slowly {stop:1s} and</prosody> on</speak>",
                "now|<75>slowly|[1000 ms]|<75>and|on",
            ),
            ("<speak><p><s>One.</s><s>Two.</s></p></speak>", "One.|[300 ms]|Two.|[900 ms]"),
            ("<speak>a<break strength=\"none\"/>b<break/>c</speak>", "ab|[500 ms]|c"),
            ("<speak>{markup}</speak>", "<b>{stop:9s}</b> [[h]]"),
            ("<speaker> is no SSML", "<speaker> is no SSML"),
        ],
    );
}

#[test]
fn what_a_variable_holds_is_never_markup() {
    assert_eq!(said(Some(Language::English), "{markup}"), "<b>{stop:9s}</b> [[h]]");
    assert_eq!(said(Some(Language::English), "{stop:1s}{stop:2s} . {nobody}"), "[3000 ms]");
}

#[test]
fn every_fault_is_told_with_its_place_and_its_mend() {
    for (text, at, reason) in [
        ("a {", 3, "not closed"),
        ("é{name", 2, "not closed"),
        ("{}", 1, "letters, digits"),
        ("{a b}", 1, "letters, digits"),
        ("{a{b}}", 1, "letters, digits"),
        (
            "x {number:5}",
            3,
            "there is no reading \"number\"; there are stop, digits, letters, date, currency",
        ),
        ("{stop:1m}", 1, "{stop:1s}"),
        ("{stop:61s}", 1, "10ms to 60s"),
        ("{stop:}", 1, "10ms"),
        (&format!("{{stop:{}s}}", "9".repeat(400)), 1, "10ms"),
        ("{stop:60s}{stop:60s}{stop:1s}", 1, "120 s of pauses"),
        ("{digits:}", 1, "nothing to read"),
        ("{digits:{letters:x}}", 1, "text and variables"),
        ("{date:{stop:1s}}", 1, "text and variables"),
        ("<speak>a", 1, "do not close"),
        ("<speak>a</p></speak>", 9, "do not close"),
        ("<speak>a</speak>b", 17, "do not close"),
        ("<speak><speak>a</speak></speak>", 8, "do not close"),
        ("<speak><audio src=\"x\"/></speak>", 8, "of SSML there are speak, p, s, break"),
        ("<speak><break time=\"2m\"/></speak>", 8, "<break> has time"),
        ("<speak><say-as>1</say-as></speak>", 8, "interpret-as"),
        ("<speak><prosody rate=\"500%\">1</prosody></speak>", 8, "50%"),
        ("<speak>a & b</speak>", 10, "&amp;"),
        ("<speak><say-as interpret-as=\"date\">{stop:1s}</say-as></speak>", 36, "text and variables"),
    ] {
        let error = Template::parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
    assert!(Template::parse(&"x".repeat(MAX_TEXT + 1)).is_err());
    for (text, fault) in [
        ("on {date:2026-13-01}", Some("at character 4: \"2026-13-01\" is not a day such as 2026-01-16")),
        ("{date:2025-02-29}", Some("at character 1: \"2025-02-29\" is not a day such as 2026-01-16")),
        ("{currency:5 XYZ}", Some("at character 1: \"5 XYZ\" is not an amount such as 199 CNY")),
        ("{currency:{x} XYZ}{date:{y}}", None),
    ] {
        let told = Template::parse(text).unwrap().check(Some(Language::English)).err();
        assert_eq!(told.map(|error| error.to_string()).as_deref(), fault);
    }
}

#[test]
fn variables_are_known_and_a_text_without_is_fixed() {
    let template = Template::parse("{a} {digits:{b}} {{c}}").unwrap();
    assert_eq!(template.variables().collect::<Vec<_>>(), ["a", "b"]);
    assert!(!template.is_fixed());
    assert!(Template::parse("plain {stop:1s}").unwrap().is_fixed());
}

proptest! {
    #[test]
    fn rubbish_is_a_fault_or_bounded_words(text in "([{}<>/&;:=\"'0-9a-z \\.,$]|speak|stop|digits|date|currency|say-as|é){0,60}", held in ".{0,40}") {
        for text in [text.clone(), format!("<speak>{text}</speak>")] {
            let Ok(template) = Template::parse(&text) else { continue };
            for language in Language::ALL {
                let _ = template.check(Some(language));
                let pieces = template.expand(Some(language), |_| Some(held.clone().into()));
                for piece in pieces {
                    if let Piece::Words { text, .. } = piece {
                        prop_assert!(!text.is_empty() && !text.contains(char::is_control));
                    }
                }
            }
        }
    }

    #[test]
    fn any_text_can_be_read_or_not(text in "\\PC{0,40}", number in "[-0-9.,]{1,20}") {
        for language in Language::ALL {
            for reading in Reading::ALL {
                let _ = reading.read(language, &text);
                let _ = reading.read(language, &format!("{number} USD"));
            }
        }
    }
}

#[test]
fn what_is_said_is_bounded() {
    let template = Template::parse(&"{x}{digits:{x}}".repeat(200)).unwrap();
    let long = "1".repeat(4096);
    let pieces = template.expand(Some(Language::English), |_| Some(long.as_str().into()));
    let bytes: usize = pieces.iter().map(|piece| piece.to_string().len()).sum();
    assert!(bytes <= MAX_SPOKEN, "{bytes}");
}
