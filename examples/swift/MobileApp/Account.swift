// What goes into an app: the person who is signed in. The other half, which holds a secret, is in ../MobileBackEnd.
import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A public client (RFC 6749 section 2.1): there is no secret, because whatever is in an app's binary can be read out of it
/// (RFC 8252 section 8.5). PKCE (RFC 7636) takes its place, and the client does that by itself.
struct Account: Sendable {
    private let client: Client
    private let me: Client
    private let vault: any Vault

    /// - Parameter issuer: the authorization server. Nothing else about it is in the code: a profile says how it is spoken to.
    init(clientID: String?, issuer: String?, vault: any Vault) throws {
        var configuration = Configuration()
        configuration.variables["issuer"] = issuer
        configuration.redirectURI = Account.redirectURI
        configuration.allowLoopbackHTTP = true
        client = try Client(Account.profile, clientID: clientID, configuration: configuration)
        // Who has signed in before stays signed in: the refresh token is all that it takes.
        me = try client.withSubject("me", refreshToken: vault.load(), onRotated: vault.save)
        self.vault = vault
    }

    /// Whether somebody has signed in, be it before the app was started.
    var isSignedIn: Bool {
        get throws { try vault.load() != nil }
    }

    /// Signs in. `browser` shows the page that it is given, and gives the address that the page ends up at: `Browser().open`.
    func signIn(browser: (URL) async throws -> URL) async throws {
        let authorization = try await client.authorizationURL()
        let callback = try await browser(authorization.url)
        _ = try await client.exchange(
            callback: callback.absoluteString, session: authorization.session, subject: "me", onRotated: vault.save)
    }

    /// One request to the API, with the token on it.
    func data(for request: URLRequest) async throws -> (Data, HTTPURLResponse) {
        try await me.data(for: request)
    }

    /// The app registers this scheme (RFC 8252 section 7.1), or better an `https` address of its own (section 7.2).
    static let redirectURI = "com.example.notes:/callback"

    private static let profile = """
        {
          "name": "notes",
          "title": "The notes that this app shows",
          "variables": { "issuer": { "description": "the authorization server", "format": "base_url" } },
          "grants": ["authorization_code"],
          "token": { "endpoint": "{issuer}/oauth/token", "client_auth": ["none"] },
          "authorization": { "endpoint": "{issuer}/oauth/authorize", "issuer": "{issuer}" },
          "api_origins": ["{issuer}"]
        }
        """
}

/// Where the refresh token is kept. It is as good as the person's password to this app.
protocol Vault: Sendable {
    func load() throws -> String?
    func save(_ refreshToken: String) async throws
}
