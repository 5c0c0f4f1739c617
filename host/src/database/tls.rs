//! TLS as libpq does it: `require` encrypts and believes any certificate unless a root certificate is given, `verify-ca` and
//! `verify-full` check it.

use super::round_trips::Counted;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use std::{io, path::Path, pin::Pin, sync::Arc};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect;

/// TLS beneath what counts and looks at messages, which has to see what they say.
pub(super) struct Encrypted(Rustls);

impl Encrypted {
    /// For a server by its name.
    pub(super) fn to(name: &str, config: ClientConfig) -> Result<Encrypted, impl std::error::Error + use<>> {
        MakeTlsConnect::<TcpStream>::make_tls_connect(&mut MakeRustlsConnect::new(config), name).map(Encrypted)
    }
}

impl TlsConnect<Counted<TcpStream>> for Encrypted {
    type Stream = Counted<<Rustls as TlsConnect<TcpStream>>::Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: Counted<TcpStream>) -> Self::Future {
        // What came unencrypted behind the server's word for TLS, if anything did, is lost with the old one.
        let (socket, trips) = stream.apart();
        let encrypting = self.0.connect(socket);
        Box::pin(async move { Ok(Counted::new(encrypting.await?, trips)) })
    }
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Nothing: the connection is encrypted, the other end is not known.
    Nothing,
    /// That somebody trusted signed it.
    Chain,
    /// The same, and that it names the host.
    Full,
}

/// How TLS is spoken. The message says what is wrong with the certificates, if they cannot be read.
pub(super) fn config(verify: Verify, root: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (verify, root) {
        (Verify::Nothing, None) => Arc::new(Unverified(provider.clone())),
        _ => {
            let roots = roots(root)?;
            let mut store = RootCertStore::empty();
            // The machine's own folder may hold what cannot be parsed; of a file that was named, all of it counts.
            let (_, ignored) = store.add_parsable_certificates(roots.iter().cloned());
            if let (Some(path), 1..) = (root, ignored) {
                return Err(format!("sslrootcert {}: {ignored} of its certificates cannot be parsed", path.display()));
            }
            let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
                .build()
                .map_err(|error| format!("the root certificates cannot be used: {error}"))?;
            Arc::new(Rooted { webpki, roots, named: verify == Verify::Full })
        }
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn roots(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = match file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if roots.is_empty() {
        return Err("no root certificate is at hand to verify the server with: name one with sslrootcert=FILE".into());
    }
    Ok(roots)
}

/// libpq's `require`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// libpq's `verify-full`, and `verify-ca`, to which the name does not matter.
#[derive(Debug)]
struct Rooted {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    named: bool,
}

impl ServerCertVerifier for Rooted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext, Other};
        match self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) if !self.named => {
                Ok(ServerCertVerified::assertion())
            }
            // A server's certificate with the flags of an authority, as PostgreSQL's manual makes them with `openssl req -x509`:
            // webpki refuses it, after its dates were looked at. If it is itself a root, it is the one that was asked for.
            Err(Error::InvalidCertificate(Other(_))) if self.roots.contains(end_entity) => {
                if self.named {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
