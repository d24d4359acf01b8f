// Rapidomize: a person authorizes the App in a browser; from then on the refresh token does.
import Foundation
import Program
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    var configuration = Configuration()
    configuration.variables["token_endpoint"] = variable("TOKEN_ENDPOINT")
    configuration.variables["authorization_endpoint"] = variable("AUTHORIZATION_ENDPOINT")
    configuration.variables["issuer"] = variable("ISSUER")
    configuration.variables["base_url"] = variable("BASE_URL")
    configuration.variables["auth_header"] = "x-rpz-auth"
    configuration.allowLoopbackHTTP = true
    let app = try Client(
        "rapidomize", clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"),
        configuration: configuration)

    let authorization = try await app.authorizationURL(redirectURI: "http://127.0.0.1/callback")
    let callback = ask("Open \(authorization.url)", "Paste the address that the browser ends up at:")
    _ = try await app.exchange(callback: callback, session: authorization.session, subject: "ann") { _ in
        // A database would take it, before anybody gets the access token that came with it.
        log("a new refresh token for ann")
    }

    let devices = URL(string: "\(variable("BASE_URL") ?? "")/v1/devices")!
    let (answer, _) = try await app.withSubject("ann").data(for: URLRequest(url: devices))
    print(String(decoding: answer, as: UTF8.self))
}
