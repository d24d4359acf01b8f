import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// OpenSSL does not do what it was asked to.
struct OpenSSLFailure: Error {
    let what: String

    init(_ what: String) {
        self.what = what
    }
}

typealias Key = OpaquePointer
let crypto = OpenSSL()

/// The functions of libcrypto, as its headers declare them.
///
/// `@unchecked`: nothing of it changes.
final class OpenSSL: @unchecked Sendable {
    private static let library = Library("libcrypto.so.3")

    typealias Text = UnsafePointer<CChar>
    typealias Bytes = UnsafeMutablePointer<UInt8>
    typealias Free = @convention(c) (OpaquePointer) -> Void

    let contextFromName: @convention(c) (OpaquePointer?, Text, Text?) -> OpaquePointer? = library[
        "EVP_PKEY_CTX_new_from_name"]
    let freeContext: Free = library["EVP_PKEY_CTX_free"]
    let beginGenerating: @convention(c) (OpaquePointer) -> Int32 = library["EVP_PKEY_keygen_init"]
    let setGroup: @convention(c) (OpaquePointer, Text) -> Int32 = library["EVP_PKEY_CTX_set_group_name"]
    let generate: @convention(c) (OpaquePointer, UnsafeMutablePointer<Key?>) -> Int32 = library["EVP_PKEY_generate"]
    let freeKey: Free = library["EVP_PKEY_free"]
    let memoryFile: @convention(c) (UnsafeRawPointer?, Int32) -> OpaquePointer? = library["BIO_new_mem_buf"]
    let freeFile: @convention(c) (OpaquePointer) -> Int32 = library["BIO_free"]
    let readPrivateKey: @convention(c) (OpaquePointer, OpaquePointer?, OpaquePointer?, OpaquePointer?) -> Key? =
        library[
            "PEM_read_bio_PrivateKey"]
    let newDigest: @convention(c) () -> OpaquePointer? = library["EVP_MD_CTX_new"]
    let freeDigest: Free = library["EVP_MD_CTX_free"]
    let sha256: @convention(c) () -> OpaquePointer? = library["EVP_sha256"]
    let sha384: @convention(c) () -> OpaquePointer? = library["EVP_sha384"]
    let beginSigning:
        @convention(c) (
            OpaquePointer, UnsafeMutablePointer<OpaquePointer?>, OpaquePointer?, OpaquePointer?, Key
        ) -> Int32 = library["EVP_DigestSignInit"]
    let setPadding: @convention(c) (OpaquePointer?, Int32) -> Int32 = library["EVP_PKEY_CTX_set_rsa_padding"]
    let setSaltLength: @convention(c) (OpaquePointer?, Int32) -> Int32 = library["EVP_PKEY_CTX_set_rsa_pss_saltlen"]
    let sign: @convention(c) (OpaquePointer, Bytes, UnsafeMutablePointer<Int>, UnsafeRawPointer?, Int) -> Int32 =
        library[
            "EVP_DigestSign"]
    let beginVerifying:
        @convention(c) (
            OpaquePointer, UnsafeMutablePointer<OpaquePointer?>, OpaquePointer?, OpaquePointer?, Key
        ) -> Int32 = library["EVP_DigestVerifyInit"]
    let verify: @convention(c) (OpaquePointer, UnsafePointer<UInt8>, Int, UnsafeRawPointer?, Int) -> Int32 = library[
        "EVP_DigestVerify"]
    let readPublicKey: @convention(c) (OpaquePointer?, UnsafeMutablePointer<UnsafeRawPointer?>, Int) -> Key? = library[
        "d2i_PUBKEY"]
    let octets: @convention(c) (Key, Text, Bytes, Int, UnsafeMutablePointer<Int>) -> Int32 = library[
        "EVP_PKEY_get_octet_string_param"]
    let number: @convention(c) (Key, Text, UnsafeMutablePointer<OpaquePointer?>) -> Int32 = library[
        "EVP_PKEY_get_bn_param"]
    let bits: @convention(c) (OpaquePointer) -> Int32 = library["BN_num_bits"]
    let bytes: @convention(c) (OpaquePointer, Bytes, Int32) -> Int32 = library["BN_bn2binpad"]
    let paddedBytes: @convention(c) (OpaquePointer?, Bytes?, Int32) -> Int32 = library["BN_bn2binpad"]
    let freeNumber: Free = library["BN_free"]
    let readSignature: @convention(c) (OpaquePointer?, UnsafeMutablePointer<UnsafeRawPointer?>, Int) -> OpaquePointer? =
        library[
            "d2i_ECDSA_SIG"]
    let freeSignature: Free = library["ECDSA_SIG_free"]
    let r: @convention(c) (OpaquePointer) -> OpaquePointer? = library["ECDSA_SIG_get0_r"]
    let s: @convention(c) (OpaquePointer) -> OpaquePointer? = library["ECDSA_SIG_get0_s"]
    let digest:
        @convention(c) (OpaquePointer?, Text, Text?, UnsafeRawPointer?, Int, Bytes, UnsafeMutablePointer<Int>) -> Int32 =
            library["EVP_Q_digest"]

    /// What an algorithm hashes its input with first (RFC 7518 section 3.1); nothing for EdDSA.
    func hash(_ algorithm: String) -> OpaquePointer? {
        switch algorithm {
        case "EdDSA": nil
        case "ES384": sha384()
        default: sha256()
        }
    }

    /// Has PS256 use PSS, with a salt as long as the hash (RFC 7518 section 3.5).
    func pad(_ options: OpaquePointer?, _ algorithm: String) -> Bool {
        algorithm != "PS256" || (setPadding(options, 6) == 1 && setSaltLength(options, -1) == 1)
    }
}

/// A library of the system's, for as long as the process lives.
///
/// `@unchecked`: the handle is only read.
final class Library: @unchecked Sendable {
    private let name: String
    private let handle: UnsafeMutableRawPointer?

    init(_ name: String) {
        self.name = name
        handle = dlopen(name, RTLD_NOW)
    }

    /// A function, as its header declares it.
    subscript<Function>(function: String) -> Function {
        guard let handle, let found = dlsym(handle, function) else {
            fatalError("there is no `\(function)` in \(name): these tests need OpenSSL 3 and libcurl")
        }
        return unsafeBitCast(found, to: Function.self)
    }
}
