use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use rustls_native_certs::{CertificateResult, load_native_certs};
use ureq::tls::{Certificate, RootCerts};

use crate::FetchError;

/// The variables that take the place of the platform's certificates: a file, and folders.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The certificates that servers are trusted by: what the variables `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name, else the platform's, else those in the program.
///
/// # Errors
/// [`FetchError::NoCertificates`] when a variable is set and none can be read: whoever names
/// certificates trusts no others.
pub(crate) fn trusted_roots() -> Result<RootCerts, FetchError> {
    let named = VARIABLES.into_iter().filter_map(env::var_os).find(|value| !value.is_empty());
    chosen(load_native_certs(), named)
}

fn chosen(found: CertificateResult, named: Option<OsString>) -> Result<RootCerts, FetchError> {
    let CertificateResult { certs, errors, .. } = found;
    match named {
        // Best effort: one file of many that cannot be read does not matter.
        _ if !certs.is_empty() => {
            Ok(certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into())
        }
        Some(path) => Err(FetchError::NoCertificates {
            path: PathBuf::from(path),
            source: errors.into_iter().next().map(Into::into),
        }),
        None => Ok(RootCerts::WebPki),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_in_the_program_are_for_a_platform_without_any() {
        assert!(matches!(chosen(CertificateResult::default(), None), Ok(RootCerts::WebPki)));
        let named = chosen(CertificateResult::default(), Some("company.pem".into()));
        assert!(matches!(named, Err(FetchError::NoCertificates { .. })));
    }
}
