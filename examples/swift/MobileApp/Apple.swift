// The browser and the vault of Apple's platforms. Nothing here is compiled on Linux, where the tests run.
#if canImport(AuthenticationServices)
    import AuthenticationServices

    /// The system's browser, in which the app can't look over the person's shoulder (RFC 8252 section 8.12).
    @MainActor
    final class Browser: NSObject, ASWebAuthenticationPresentationContextProviding {
        /// Shows the page, and gives the address with the app's scheme that it ends up at.
        func open(_ url: URL) async throws -> URL {
            try await withCheckedThrowingContinuation { continuation in
                // `@Sendable`: it is called on a queue of the system's, not of the main actor.
                let answered = { @Sendable (callback: URL?, error: (any Error)?) in
                    if let callback {
                        continuation.resume(returning: callback)
                    } else {
                        continuation.resume(throwing: error ?? URLError(.cancelled))
                    }
                }
                let session = ASWebAuthenticationSession(
                    url: url, callbackURLScheme: "com.example.notes", completionHandler: answered)
                session.presentationContextProvider = self
                session.start()
            }
        }

        func presentationAnchor(for session: ASWebAuthenticationSession) -> ASPresentationAnchor {
            ASPresentationAnchor()
        }
    }
#endif

#if canImport(Security)
    import Foundation
    import Security

    /// One entry of the Keychain, for this device alone.
    struct Keychain: Vault {
        private struct Refused: Error {
            let status: OSStatus
        }

        private var entry: [CFString: Any] {
            [
                kSecClass: kSecClassGenericPassword, kSecAttrService: "com.example.notes",
                kSecAttrAccount: "refresh token",
            ]
        }

        func load() throws -> String? {
            var found: CFTypeRef?
            let status = SecItemCopyMatching(entry.merging([kSecReturnData: true]) { $1 } as CFDictionary, &found)
            guard status != errSecItemNotFound else { return nil }
            guard status == errSecSuccess, let data = found as? Data else { throw Refused(status: status) }
            return String(decoding: data, as: UTF8.self)
        }

        func save(_ refreshToken: String) async throws {
            let value: [CFString: Any] = [
                kSecValueData: Data(refreshToken.utf8),
                kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
            var status = SecItemUpdate(entry as CFDictionary, value as CFDictionary)
            if status == errSecItemNotFound {
                status = SecItemAdd(entry.merging(value) { $1 } as CFDictionary, nil)
            }
            guard status == errSecSuccess else { throw Refused(status: status) }
        }
    }
#endif
