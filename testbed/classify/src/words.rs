//! Who speaks, and what is said.

/// What makes a voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// espeak-ng: formants, many variants of voice.
    Espeak,
    /// flite: recorded diphones and units of four people.
    Flite,
    /// Debian's asterisk-core-sounds: one person for each language, recorded; the texts are names of files.
    Recorded,
}

/// A voice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speaker {
    pub(crate) engine: Engine,
    pub(crate) language: &'static str,
    pub(crate) name: &'static str,
}

const fn voice(engine: Engine, language: &'static str, name: &'static str) -> Speaker {
    Speaker { engine, language, name }
}

use Engine::{Espeak, Flite, Recorded};

pub(crate) const SPEAKERS: &[Speaker] = &[
    voice(Espeak, "en", "en-us+m1"),
    voice(Espeak, "en", "en-us+f1"),
    voice(Espeak, "en", "en-gb+m3"),
    voice(Espeak, "en", "en-gb+f3"),
    voice(Espeak, "en", "en-gb-scotland+m4"),
    voice(Espeak, "en", "en-us-nyc+f4"),
    voice(Espeak, "en", "en-029+m7"),
    voice(Espeak, "en", "en-gb-x-rp+f5"),
    voice(Espeak, "en", "en-us+Andrea"),
    voice(Espeak, "en", "en-us+Mike"),
    voice(Espeak, "en", "en-gb+steph"),
    voice(Espeak, "en", "en-us+klatt2"),
    voice(Espeak, "en", "en-gb+quincy"),
    voice(Espeak, "en", "en-us+linda"),
    voice(Espeak, "id", "id+m2"),
    voice(Espeak, "id", "id+f2"),
    voice(Espeak, "id", "id+m5"),
    voice(Espeak, "id", "id+f4"),
    voice(Espeak, "id", "id+Annie"),
    voice(Espeak, "id", "id+klatt4"),
    voice(Espeak, "vi", "vi+m1"),
    voice(Espeak, "vi", "vi+f2"),
    voice(Espeak, "vi", "vi-vn-x-south+f3"),
    voice(Espeak, "vi", "vi-vn-x-central+m6"),
    voice(Espeak, "vi", "vi+Nguyen"),
    voice(Espeak, "vi", "vi-vn-x-south+m4"),
    voice(Espeak, "zh", "cmn+m1"),
    voice(Espeak, "zh", "cmn+f1"),
    voice(Espeak, "zh", "cmn+m8"),
    voice(Espeak, "zh", "cmn+f5"),
    voice(Espeak, "zh", "cmn+Alicia"),
    voice(Espeak, "zh", "cmn+klatt"),
    voice(Espeak, "es", "es+m2"),
    voice(Espeak, "es", "es-419+f2"),
    voice(Espeak, "es", "es+f4"),
    voice(Espeak, "es", "es-419+pablo"),
    voice(Espeak, "es", "es+pedro"),
    voice(Espeak, "es", "es-419+m5"),
    voice(Espeak, "fr", "fr-fr+m1"),
    voice(Espeak, "fr", "fr-fr+f3"),
    voice(Espeak, "fr", "fr-be+m4"),
    voice(Espeak, "fr", "fr-ch+f1"),
    voice(Espeak, "fr", "fr-fr+aunty"),
    voice(Espeak, "fr", "fr-fr+gustave"),
    voice(Flite, "en", "slt"),
    voice(Flite, "en", "rms"),
    voice(Flite, "en", "awb"),
    voice(Flite, "en", "kal16"),
    voice(Recorded, "files", "en_US_f_Allison"),
    voice(Recorded, "files", "es_MX_f_Allison"),
    voice(Recorded, "files", "fr_CA_f_June"),
    voice(Recorded, "files", "it_IT_m_Carlo"),
    voice(Recorded, "files", "ru_RU_f_IvrvoiceRU"),
];

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A person's one or two words.
    Hello,
    /// A person's whole sentence.
    Sentence,
    /// A company's greeting by a person, who then waits.
    Receptionist,
    /// A recorded greeting.
    Recording,
}

/// What is said; `|` parts sentences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) language: &'static str,
    pub(crate) manner: Manner,
    pub(crate) words: &'static str,
}

const fn text(language: &'static str, manner: Manner, words: &'static str) -> Text {
    Text { language, manner, words }
}

use Manner::{Hello, Receptionist, Recording, Sentence};

pub(crate) const TEXTS: &[Text] = &[
    text("en", Hello, "Hello?"),
    text("en", Hello, "Hi."),
    text("en", Hello, "Yes?"),
    text("en", Hello, "Hello, hello?"),
    text("en", Hello, "Good morning."),
    text("en", Hello, "Yeah, hello?"),
    text("en", Hello, "Speaking."),
    text("en", Hello, "Who's this?"),
    text("en", Hello, "Peter Miller."),
    text("en", Hello, "Hi there."),
    text("en", Sentence, "Yes, hello, this is Mary."),
    text("en", Sentence, "Hello, Robert speaking."),
    text("en", Sentence, "Hello, who am I speaking to?"),
    text("en", Sentence, "Hi, you're speaking with James."),
    text("en", Sentence, "Good afternoon, Helen here."),
    text("en", Sentence, "Hello? Hello, can you hear me?"),
    text("en", Receptionist, "Good morning, Miller and Sons, Linda speaking."),
    text("en", Receptionist, "Grand Hotel, good evening, how can I help you?"),
    text("en", Receptionist, "Thank you for calling Northern Insurance, this is Paul."),
    text("en", Receptionist, "City Dental, how may I help?"),
    text("en", Receptionist, "Accounts department, Susan speaking, good morning."),
    text("en", Receptionist, "Hello, reception, what can I do for you?"),
    text(
        "en",
        Recording,
        "Hi, this is Mary.|I can't come to the phone right now.|Please leave a message after the tone.",
    ),
    text(
        "en",
        Recording,
        "You have reached the voicemail of Robert Smith.|Leave your name and number and I will call you back.",
    ),
    text(
        "en",
        Recording,
        "The person you are calling is not available.|Please leave your message after the beep.",
    ),
    text(
        "en",
        Recording,
        "Hello, you've reached the Johnson family.|We are not at home at the moment.|Leave a message and we'll get back to you as soon as we can.",
    ),
    text(
        "en",
        Recording,
        "Your call has been forwarded to an automatic voice message system.|At the tone, please record your message.",
    ),
    text("en", Recording, "Hey, it's James, I missed your call, say something nice after the beep."),
    text(
        "en",
        Recording,
        "Welcome to the mailbox of five five five, one two three four.|This subscriber is not available to take your call.",
    ),
    text(
        "en",
        Recording,
        "Thank you for calling City Dental.|Our office is closed now.|Our hours are Monday to Friday, nine to five.|Please leave a message.",
    ),
    text(
        "en",
        Recording,
        "I am in a meeting or on the other line.|Leave a message, or better, send me a text.",
    ),
    text(
        "en",
        Recording,
        "The number you have dialled is currently switched off.|Please try again later, or leave a message after the signal.",
    ),
    text("id", Hello, "Halo?"),
    text("id", Hello, "Iya, halo?"),
    text("id", Hello, "Halo, siapa ini?"),
    text("id", Hello, "Selamat pagi."),
    text("id", Hello, "Ya?"),
    text("id", Sentence, "Halo, dengan Budi di sini."),
    text("id", Sentence, "Iya halo, ini siapa ya?"),
    text("id", Sentence, "Halo, selamat siang, ada apa?"),
    text("id", Receptionist, "Selamat pagi, Bank Mandiri, ada yang bisa dibantu?"),
    text("id", Receptionist, "Hotel Melati selamat sore, dengan Rina."),
    text(
        "id",
        Recording,
        "Nomor yang Anda tuju sedang tidak aktif.|Silakan tinggalkan pesan setelah nada berikut.",
    ),
    text(
        "id",
        Recording,
        "Anda terhubung dengan kotak suara.|Silakan tinggalkan nama dan nomor telepon Anda.",
    ),
    text(
        "id",
        Recording,
        "Maaf, saya sedang tidak bisa menerima telepon.|Tinggalkan pesan setelah bunyi bip.",
    ),
    text(
        "id",
        Recording,
        "Telepon yang Anda hubungi tidak menjawab.|Rekam pesan Anda setelah nada, lalu tekan pagar.",
    ),
    text("vi", Hello, "A lô?"),
    text("vi", Hello, "A lô, ai đấy?"),
    text("vi", Hello, "Vâng, tôi nghe."),
    text("vi", Hello, "A lô, a lô?"),
    text("vi", Sentence, "A lô, tôi là Hùng đây."),
    text("vi", Sentence, "Xin chào, ai gọi đấy ạ?"),
    text("vi", Sentence, "Vâng, Lan nghe đây ạ."),
    text("vi", Receptionist, "Công ty Hoàng Long xin chào, em có thể giúp gì ạ?"),
    text("vi", Receptionist, "Khách sạn Hoa Sen xin nghe."),
    text(
        "vi",
        Recording,
        "Thuê bao quý khách vừa gọi tạm thời không liên lạc được.|Xin quý khách vui lòng để lại lời nhắn sau tiếng bíp.",
    ),
    text("vi", Recording, "Xin chào, đây là hộp thư thoại.|Vui lòng để lại tên và số điện thoại của bạn."),
    text("vi", Recording, "Hiện tại tôi không thể nghe máy.|Hãy để lại lời nhắn sau tín hiệu."),
    text("vi", Recording, "Quý khách đang kết nối với hộp thư của số máy này.|Xin hãy nói sau tiếng bíp."),
    text("zh", Hello, "喂？"),
    text("zh", Hello, "喂，你好。"),
    text("zh", Hello, "你好。"),
    text("zh", Hello, "喂，哪位？"),
    text("zh", Sentence, "喂，你好，请问找谁？"),
    text("zh", Sentence, "我是小王，请讲。"),
    text("zh", Sentence, "您好，我是李明。"),
    text("zh", Receptionist, "您好，北京饭店，请问有什么可以帮您？"),
    text("zh", Receptionist, "早上好，华夏公司，请讲。"),
    text("zh", Recording, "您好，您拨打的电话暂时无法接通。|请在提示音后留言。"),
    text("zh", Recording, "您好，这里是语音信箱。|请留下您的姓名和电话号码，我会尽快给您回电话。"),
    text("zh", Recording, "我现在不方便接电话。|请在哔的一声之后留下您的信息，谢谢。"),
    text("zh", Recording, "您所拨打的用户已关机。|您可以在听到提示音后开始留言，完成后请挂机。"),
    text("es", Hello, "¿Diga?"),
    text("es", Hello, "¿Bueno?"),
    text("es", Hello, "Hola."),
    text("es", Hello, "¿Sí, dígame?"),
    text("es", Sentence, "Hola, soy Carmen, ¿quién es?"),
    text("es", Sentence, "Sí, hola, habla Miguel."),
    text("es", Sentence, "¿Aló? ¿Con quién hablo?"),
    text("es", Receptionist, "Buenos días, Seguros Norte, ¿en qué puedo ayudarle?"),
    text("es", Receptionist, "Hotel Central, buenas tardes, le atiende Ana."),
    text("es", Recording, "Ha llamado al buzón de voz de Carmen.|Deje su mensaje después de la señal."),
    text("es", Recording, "En este momento no puedo atenderle.|Deje su nombre y su número y le llamaré."),
    text(
        "es",
        Recording,
        "El teléfono al que llama está apagado o fuera de cobertura.|Puede dejar un mensaje después del tono.",
    ),
    text("es", Recording, "Hola, somos la familia García.|No estamos en casa, por favor deje un mensaje."),
    text("fr", Hello, "Allô ?"),
    text("fr", Hello, "Oui, bonjour."),
    text("fr", Hello, "Allô, oui ?"),
    text("fr", Hello, "Oui ?"),
    text("fr", Sentence, "Allô, oui, c'est Marie."),
    text("fr", Sentence, "Bonjour, Pierre à l'appareil."),
    text("fr", Sentence, "Allô, qui est à l'appareil ?"),
    text("fr", Receptionist, "Bonjour, hôtel du Lac, que puis-je faire pour vous ?"),
    text("fr", Receptionist, "Assurances du Nord, Sophie, bonjour."),
    text(
        "fr",
        Recording,
        "Vous êtes bien sur la messagerie de Marie.|Laissez un message après le bip sonore.",
    ),
    text(
        "fr",
        Recording,
        "Bonjour, je ne suis pas disponible pour le moment.|Laissez votre nom et votre numéro, je vous rappellerai.",
    ),
    text(
        "fr",
        Recording,
        "Votre correspondant n'est pas joignable.|Veuillez laisser votre message après le signal.",
    ),
    text(
        "fr",
        Recording,
        "Vous êtes chez la famille Martin.|Nous sommes absents, merci de laisser un message.",
    ),
    text("files", Hello, "privacy-thankyou"),
    text("files", Hello, "vm-goodbye"),
    text("files", Hello, "auth-thankyou"),
    text("files", Hello, "hello-world"),
    text("files", Hello, "pbx-transfer"),
    text("files", Hello, "vm-received"),
    text("files", Recording, "vm-theperson|digits/5|digits/2|digits/7|vm-isunavail|vm-intro"),
    text("files", Recording, "vm-rec-unv"),
    text("files", Recording, "ss-noservice"),
    text("files", Recording, "pbx-invalid"),
    text("files", Recording, "tt-allbusy"),
    text("files", Recording, "demo-congrats"),
    text("files", Recording, "vm-intro"),
    text("files", Recording, "vm-theperson|digits/3|digits/9|vm-isonphone|vm-intro"),
    text("files", Recording, "dir-intro"),
    text("files", Recording, "vm-rec-busy|vm-leavemsg"),
];
