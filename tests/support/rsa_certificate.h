#pragma once
/// A self-signed RSA certificate for rsa.example and node-a, good until 2056, and its key. Our own certificates are ECDSA
/// (agent/io/x509.h); this one stands for those that users bring along. The key protects nothing.

namespace tests {

/// The certificate as PEM text.
inline constexpr const char* kRsaCertificate =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIDLzCCAhegAwIBAgIUVm/lmaC6NxV1kUb7bI7e9Rz0OK0wDQYJKoZIhvcNAQEL\n"
    "BQAwFjEUMBIGA1UEAwwLcnNhLmV4YW1wbGUwIBcNMjYxMTIxMTQwMzEyWhgPMjA1\n"
    "NjExMTMxNDAzMTJaMBYxFDASBgNVBAMMC3JzYS5leGFtcGxlMIIBIjANBgkqhkiG\n"
    "9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnh3CjvIsnwHhfR5fetz1ZZb6JLQfmSiqFm5r\n"
    "9DymovEYVD8vHCG8LMjn17qTmX8yv3dp+62st8xdEirS4OPPklukjHsVmAksb7q6\n"
    "NCQDh0SvtpPsUltPwqtwWZLkig3CUYAG0IUtQmDzkgFPUBMLp9B4HqrMhTbWyX1Q\n"
    "5zRonQQ6B+UAzG8WlRB8+0tXFAmXFKAHoaAO5Q45CRRhvv4xAFJNid6/2Pb+quSR\n"
    "HW663mfj6A4xzlUjWIMd2OPPFrTYZm5dZdXpZHCMyut1Re9hgxUnFFTEx85fWODx\n"
    "q5INKv+sgl6Ngp+TxrL/vGpG92UjfDzxXvpeGSI/EoGXAVinDwIDAQABo3MwcTAd\n"
    "BgNVHQ4EFgQUKltGc6PXg1xQYPdmrZXK99CZNUIwHwYDVR0jBBgwFoAUKltGc6PX\n"
    "g1xQYPdmrZXK99CZNUIwDwYDVR0TAQH/BAUwAwEB/zAeBgNVHREEFzAVggtyc2Eu\n"
    "ZXhhbXBsZYIGbm9kZS1hMA0GCSqGSIb3DQEBCwUAA4IBAQCBhH5DODoknMeduSiR\n"
    "VY/XzT9cbYEpJbQKm8P1z2mXjUIi0gTSwDhdujNNKR+c3LP6DfdNg8a3dbIQ0PxL\n"
    "TD2irCcHRucH/rUZ8UBVG7M0ufZ6v+4avhK2b31GiLmkkzi64QTPsIpN1/o6zbgE\n"
    "Rr2jTjhk2X2Qdy6pjyFJLOCut1SGVDKbQt2KnBoe0dRL0rJj63rFtWauyQvxTQmg\n"
    "vSiHOQ8T/E03ukQU9aaOPrcueHV7rEAqMermHSnQhNnjZajZunHZ+hmeoZd7ZYYQ\n"
    "v6Z4kCQeJdeV2KzPKNmFL1HwEoTgIgtOdiaJAF4q9RE8twbCcN4ZZkOVRYq8K/8+\n"
    "H79B\n"
    "-----END CERTIFICATE-----\n";
/// Its private key as PEM text.
inline constexpr const char* kRsaKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCeHcKO8iyfAeF9\n"
    "Hl963PVllvoktB+ZKKoWbmv0PKai8RhUPy8cIbwsyOfXupOZfzK/d2n7ray3zF0S\n"
    "KtLg48+SW6SMexWYCSxvuro0JAOHRK+2k+xSW0/Cq3BZkuSKDcJRgAbQhS1CYPOS\n"
    "AU9QEwun0HgeqsyFNtbJfVDnNGidBDoH5QDMbxaVEHz7S1cUCZcUoAehoA7lDjkJ\n"
    "FGG+/jEAUk2J3r/Y9v6q5JEdbrreZ+PoDjHOVSNYgx3Y488WtNhmbl1l1elkcIzK\n"
    "63VF72GDFScUVMTHzl9Y4PGrkg0q/6yCXo2Cn5PGsv+8akb3ZSN8PPFe+l4ZIj8S\n"
    "gZcBWKcPAgMBAAECggEAFts9ylokVyFMzkBmFFBSl5/j2GBtXOotmYEsJn80phiX\n"
    "Ur5begPqZshCs22rc89Dr70nBem3g6ONegMqFAulGtwX2kgvTpis4sMpsust02T7\n"
    "cuIekafUzNLph8PzONL/rwuvGyoqk7jeHNIG/A/0vwp6Arzf7wsxW1O72TWQlc8n\n"
    "JO+KOQN8RORko+XjKKY55XA/7hFCEBXOBqE3XkFqciRdgAfouZkT/jG7fenUIcBM\n"
    "joHzrE+PWo4JsCvA0xXOeA830UNzqG2Dm6YwUQl0bcwCxFijp4Vi8veBy8FdwOZZ\n"
    "mVnSrt360cFObGKljFUYKXPmI1BRJ0LUapINYO1ygQKBgQDeeZQEL9zXRvcy9S+p\n"
    "8ZG05t4axnpFKEzqNSMxbupH9RnvzcphM4CnBeaHE6RCvasY1OLH6gBaYeVMl1rt\n"
    "GX7/YO/wqBaA4G5bMZ3ynJTP0PcnYwD0X+7RU7ZRk4j4o/ZVyt1QTyg3jQZ5YkTZ\n"
    "hOeKguPpHj18WPm3xzeTKKipQQKBgQC18WpiJ8VZB3HV9JC+iA/HavDl4n4aMP2Q\n"
    "iMlijW7ktIdhQ47lMc2ipqXrR0jw9v6TPjq2XeqGRO84TeYjAlGKI1gJ2D2BXIPv\n"
    "iwEleUBV/yw+CE0V5MmAOrG+PmAtXy0DPnzZ/h2JpdvTtQwXaKxVLalIC/XE5Kp1\n"
    "1f2kd6VsTwKBgFUl3SPZGcH/ND95nfuCLI07S0ieLE/pw75kBgs2c06FHZ8teUbI\n"
    "inXiiT+rodO1ehWv7PgstGPjUfqFd1SFzJh7hnnqK2q5+yLGE7i2ezIqvV2Cw+vE\n"
    "B8hwLLh+Kg9X2cEuOpQxJ6hTPmYY2VcTSfc2b3pai5fbCgBvq/KTvjHBAoGAB+D6\n"
    "cGG0hBR0c4Vxty6BMGuLHwld2JiCgn3J6sChKro+mpGoYHh1pTN+P+AIYpbvk0TA\n"
    "miEbBNF7Yn7NFnsFOOwq5dI9Z5qwA/GLDSphBNhV/CGz5NzRdQIVrF1bINvcQSW1\n"
    "lmMQuGM8T8CpU2IvBElD6WDLNcmJMC0iHLspqLUCgYBaRa0dfbNuTjR6r2rl0Zk+\n"
    "72LQnmd22mGB/6EmpUe2/kO0eg1wnuYq6eigOvjO4H/jCAUcdY5jttSR5ZQVObVe\n"
    "yto5hb1KURH7aOy/mbEct99UzB6PcCJfOODPtWjL3tyk8mN1xIayW1Q+hbrwg5PV\n"
    "5lLcoQVnbT5AN1LnxgXJoQ==\n"
    "-----END PRIVATE KEY-----\n";

}  // namespace tests
