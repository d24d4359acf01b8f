// Stands for an app's screens: a person signs in, and sees what the API has for them. A terminal is the browser here.
import Foundation
import Program

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    let account = try Account(clientID: variable("CLIENT_ID"), issuer: variable("ISSUER"), vault: NoVault())
    if try !account.isSignedIn {
        try await account.signIn { page in
            let address = ask("Open \(page)", "Paste the address that the browser ends up at:")
            guard let callback = URL(string: address) else { throw URLError(.badURL) }
            return callback
        }
    }
    let notes = URL(string: "\(variable("ISSUER") ?? "")/v1/notes")!
    let (answer, _) = try await account.data(for: URLRequest(url: notes))
    print(String(decoding: answer, as: UTF8.self))
}

/// A vault that keeps nothing. An app has the Keychain: see Apple.swift.
private struct NoVault: Vault {
    func load() -> String? { nil }
    func save(_ refreshToken: String) async {}
}
