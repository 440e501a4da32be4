//! Messages for people in their own language, by class of failure. The `message` of an error stays English; these go beside it.

use narthex_core::Kind;

struct Language {
    tag: &'static str,
    text: fn(Kind) -> &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language { tag: "de", text: german },
    Language { tag: "es", text: spanish },
    Language { tag: "fr", text: french },
    Language { tag: "it", text: italian },
    Language { tag: "nl", text: dutch },
    Language { tag: "pt", text: portuguese },
];

/// The locale and message that an `Accept-Language` header asks for; `None` if it prefers English or a language that is not here.
pub(crate) fn localized(accept_language: &str, kind: Kind) -> Option<(&'static str, &'static str)> {
    let mut best: Option<(f32, Option<&Language>)> = None;
    for range in accept_language.split(',').take(16) {
        let mut parts = range.split(';');
        let primary = parts.next()?.trim().split('-').next()?.to_ascii_lowercase();
        let quality =
            parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(Some(1.0), |q| q.trim().parse().ok());
        let Some(quality) = quality.filter(|quality: &f32| *quality > 0.0) else { continue };
        let language = LANGUAGES.iter().find(|language| language.tag == primary);
        if (language.is_some() || primary == "en") && best.as_ref().is_none_or(|(known, _)| quality > *known) {
            best = Some((quality, language));
        }
    }
    let language = best?.1?;
    Some((language.tag, (language.text)(kind)))
}

fn german(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "Die Anfrage wurde abgebrochen.",
        Kind::InvalidArgument | Kind::OutOfRange => "Die Anfrage enthält ungültige Angaben.",
        Kind::DeadlineExceeded => "Die Anfrage hat zu lange gedauert.",
        Kind::NotFound => "Nicht gefunden.",
        Kind::AlreadyExists => "Das gibt es bereits.",
        Kind::PermissionDenied => "Dafür fehlt die Berechtigung.",
        Kind::ResourceExhausted => "Zu viele Anfragen. Bitte später erneut versuchen.",
        Kind::FailedPrecondition => "Das ist im jetzigen Zustand nicht möglich.",
        Kind::Aborted => "Die Änderung steht im Widerspruch zu einer anderen.",
        Kind::Unimplemented => "Das wird nicht unterstützt.",
        Kind::Internal => "Interner Fehler.",
        Kind::Unavailable => "Vorübergehend nicht verfügbar. Bitte erneut versuchen.",
        Kind::Unauthenticated => "Bitte anmelden.",
    }
}

fn spanish(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "La solicitud se canceló.",
        Kind::InvalidArgument | Kind::OutOfRange => "La solicitud contiene datos no válidos.",
        Kind::DeadlineExceeded => "La solicitud tardó demasiado.",
        Kind::NotFound => "No encontrado.",
        Kind::AlreadyExists => "Ya existe.",
        Kind::PermissionDenied => "No tiene permiso para hacerlo.",
        Kind::ResourceExhausted => "Demasiadas solicitudes. Inténtelo más tarde.",
        Kind::FailedPrecondition => "No es posible en el estado actual.",
        Kind::Aborted => "El cambio entra en conflicto con otro.",
        Kind::Unimplemented => "No se admite.",
        Kind::Internal => "Error interno.",
        Kind::Unavailable => "No disponible por el momento. Inténtelo de nuevo.",
        Kind::Unauthenticated => "Inicie sesión.",
    }
}

fn french(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "La requête a été annulée.",
        Kind::InvalidArgument | Kind::OutOfRange => "La requête contient des données non valides.",
        Kind::DeadlineExceeded => "La requête a pris trop de temps.",
        Kind::NotFound => "Introuvable.",
        Kind::AlreadyExists => "Existe déjà.",
        Kind::PermissionDenied => "Vous n'avez pas l'autorisation nécessaire.",
        Kind::ResourceExhausted => "Trop de requêtes. Veuillez réessayer plus tard.",
        Kind::FailedPrecondition => "Impossible dans l'état actuel.",
        Kind::Aborted => "La modification est en conflit avec une autre.",
        Kind::Unimplemented => "Non pris en charge.",
        Kind::Internal => "Erreur interne.",
        Kind::Unavailable => "Momentanément indisponible. Veuillez réessayer.",
        Kind::Unauthenticated => "Veuillez vous connecter.",
    }
}

fn italian(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "La richiesta è stata annullata.",
        Kind::InvalidArgument | Kind::OutOfRange => "La richiesta contiene dati non validi.",
        Kind::DeadlineExceeded => "La richiesta ha richiesto troppo tempo.",
        Kind::NotFound => "Non trovato.",
        Kind::AlreadyExists => "Esiste già.",
        Kind::PermissionDenied => "Autorizzazione mancante.",
        Kind::ResourceExhausted => "Troppe richieste. Riprovare più tardi.",
        Kind::FailedPrecondition => "Non è possibile nello stato attuale.",
        Kind::Aborted => "La modifica è in conflitto con un'altra.",
        Kind::Unimplemented => "Non supportato.",
        Kind::Internal => "Errore interno.",
        Kind::Unavailable => "Temporaneamente non disponibile. Riprovare.",
        Kind::Unauthenticated => "Effettuare l'accesso.",
    }
}

fn dutch(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "Het verzoek is geannuleerd.",
        Kind::InvalidArgument | Kind::OutOfRange => "Het verzoek bevat ongeldige gegevens.",
        Kind::DeadlineExceeded => "Het verzoek duurde te lang.",
        Kind::NotFound => "Niet gevonden.",
        Kind::AlreadyExists => "Bestaat al.",
        Kind::PermissionDenied => "Hiervoor ontbreekt de bevoegdheid.",
        Kind::ResourceExhausted => "Te veel verzoeken. Probeer het later opnieuw.",
        Kind::FailedPrecondition => "Dat kan niet in de huidige toestand.",
        Kind::Aborted => "De wijziging is in strijd met een andere.",
        Kind::Unimplemented => "Niet ondersteund.",
        Kind::Internal => "Interne fout.",
        Kind::Unavailable => "Tijdelijk niet beschikbaar. Probeer het opnieuw.",
        Kind::Unauthenticated => "Meld u aan.",
    }
}

fn portuguese(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancelled => "O pedido foi cancelado.",
        Kind::InvalidArgument | Kind::OutOfRange => "O pedido contém dados inválidos.",
        Kind::DeadlineExceeded => "O pedido demorou demasiado.",
        Kind::NotFound => "Não encontrado.",
        Kind::AlreadyExists => "Já existe.",
        Kind::PermissionDenied => "Não tem permissão para isso.",
        Kind::ResourceExhausted => "Demasiados pedidos. Tente novamente mais tarde.",
        Kind::FailedPrecondition => "Não é possível no estado atual.",
        Kind::Aborted => "A alteração está em conflito com outra.",
        Kind::Unimplemented => "Não suportado.",
        Kind::Internal => "Erro interno.",
        Kind::Unavailable => "Temporariamente indisponível. Tente novamente.",
        Kind::Unauthenticated => "Inicie sessão.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_wins_and_english_needs_no_translation() {
        let tag = |header| localized(header, Kind::NotFound).map(|(tag, _)| tag);
        assert_eq!(tag("de-DE,de;q=0.9,en;q=0.8"), Some("de"));
        assert_eq!(tag("en;q=0.8,fr"), Some("fr"));
        assert_eq!(tag("en-US,en;q=0.9,de;q=0.5"), None);
        assert_eq!(tag("ja, es;q=0.3"), Some("es"));
        assert_eq!(tag("de;q=0"), None);
        for header in ["", "*", "xx", ";;;", "de;q=x", ",,,"] {
            assert_eq!(tag(header), None, "{header}");
        }
    }

    #[test]
    fn every_language_has_a_text_for_every_kind() {
        for language in &LANGUAGES {
            for kind in Kind::ALL {
                assert!(!(language.text)(kind).is_empty());
            }
        }
    }
}
