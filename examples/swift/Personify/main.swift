// Personify: the tenant's id goes on every API request beside the token.
import Foundation
import Program
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

await program {
    var configuration = Configuration()
    configuration.variables["token_endpoint"] = variable("TOKEN_ENDPOINT")
    configuration.variables["tenant_id"] = variable("TENANT_ID")
    configuration.variables["base_url"] = variable("BASE_URL")
    configuration.allowLoopbackHTTP = true
    let personify = try Client(
        "personify", clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"),
        configuration: configuration)

    // However many ask at once: there is one token request.
    let customers = "\(variable("BASE_URL") ?? "")/v1/customers"
    try await withThrowingTaskGroup(of: Data.self) { pages in
        for page in 0..<50 {
            pages.addTask {
                try await personify.data(for: URLRequest(url: URL(string: "\(customers)?page=\(page)")!)).0
            }
        }
        for try await page in pages { print(String(decoding: page, as: UTF8.self)) }
    }
}
