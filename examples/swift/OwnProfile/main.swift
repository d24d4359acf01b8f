// A provider of your own, without a line of code: PROFILE names a document, such as those in ../../profiles.
import Foundation
import Program
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    var configuration = Configuration()
    configuration.apiToken = variable("API_TOKEN")
    // What the documents declare as their variables.
    for name in ["base_url", "region", "forge_url", "api_url"] {
        configuration.variables[name] = variable(name.uppercased())
    }
    configuration.allowLoopbackHTTP = true
    let profile = try String(contentsOfFile: variable("PROFILE") ?? "", encoding: .utf8)
    let client = try Client(
        profile, clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"), configuration: configuration)

    // Only where a person has to authorize the program.
    if let redirectURI = variable("REDIRECT_URI") {
        let authorization = try await client.authorizationURL(redirectURI: redirectURI)
        let callback = ask("Open \(authorization.url)", "Paste the address that the browser ends up at:")
        _ = try await client.exchange(callback: callback, session: authorization.session)
    }

    // Printing a token shows no secret.
    let token = try await client.token()
    print(token, "expiresAt:", Int(token.expiresAt.timeIntervalSince1970))
    let user = URL(string: "\(variable("API_URL") ?? variable("BASE_URL") ?? "")/user")!
    let (answer, _) = try await client.data(for: URLRequest(url: user))
    print(String(decoding: answer, as: UTF8.self))
}
