// Phoenix Security: a token by GET with Basic authentication, of a server whose clock is off.
import Foundation
import Program
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    let baseURL = variable("BASE_URL") ?? "https://api.securityphoenix.cloud"
    var configuration = Configuration()
    configuration.variables = ["base_url": baseURL]
    configuration.allowLoopbackHTTP = true
    // What happened, for your log. There is never a secret in it.
    configuration.onNotice = { notice in log("\(notice.name): \(notice.detail ?? "")") }
    let security = try Client(
        "phoenix-security", clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"),
        configuration: configuration)

    let (assets, _) = try await security.data(for: URLRequest(url: URL(string: "\(baseURL)/v1/assets")!))
    print(String(decoding: assets, as: UTF8.self))
}
