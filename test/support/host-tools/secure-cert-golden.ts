/**
 * Input of the golden esp_secure_cert image: keys that protect nothing. Its SHA-256 was compared with what Espressif's tool makes of the
 * same table.
 */
export const GOLDEN_FILES: Readonly<Record<string, string>> = {
  "g.crt": [
    "-----BEGIN CERTIFICATE-----",
    "MIIBezCCASGgAwIBAgIUW15muCI32fXvD/7KsSMkGJhMPK8wCgYIKoZIzj0EAwIw",
    "EzERMA8GA1UEAwwIZ29sZGVuLTEwHhcNMjYxMTI4MTgyNTMwWhcNNDYxMTIzMTgy",
    "NTMwWjATMREwDwYDVQQDDAhnb2xkZW4tMTBZMBMGByqGSM49AgEGCCqGSM49AwEH",
    "A0IABCQOHyxa070j8xENADc2fQ0oVVdt9hxoB0WdIxL7DqKDS+QpvGQX3saWjRbO",
    "Z6izHhN0VaAKMKnKfRp9klA4gvWjUzBRMB0GA1UdDgQWBBThwuxnlWx9smc8wCj6",
    "cjhbfjTheDAfBgNVHSMEGDAWgBThwuxnlWx9smc8wCj6cjhbfjTheDAPBgNVHRMB",
    "Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIFHZO3TYrOMprqHJCkXf8wiwg6rA",
    "OEKx/uSiZ2HzHVHKAiEA29R1sXLehTqJZD9kVq/lM6E1a7OCyCEbZag+kmtGUw4=",
    "-----END CERTIFICATE-----",
    "",
  ].join("\n"),
  "g.key": [
    "-----BEGIN PRIVATE KEY-----",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtTyv2qixrd+XdTyr",
    "n/utXruZrx7VKpHO9sOOP9qF+myhRANCAAQkDh8sWtO9I/MRDQA3Nn0NKFVXbfYc",
    "aAdFnSMS+w6ig0vkKbxkF97Glo0Wzmeosx4TdFWgCjCpyn0afZJQOIL1",
    "-----END PRIVATE KEY-----",
    "",
  ].join("\n"),
  "g.rsa": [
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIICXAIBAAKBgQDoRVsPAKdRokBKt6f4CAP6h5ZvrYs8ur8OqoEMntQjYRuXvyFF",
    "JXFIBZ2bzONWd+PENV0+Mv++CqL4sq5tZSygk4yA1qYqTn1mr3i/YNUhPKSpkmIi",
    "TymCAbYW+ijNnhqSTJ5cAx7hYrPCMqHTxTfKt0xiJYYe3Phge1CeeRWJUQIDAQAB",
    "AoGAGyppcQLBjwGsBVEfmxnM5VNQW/VvMIYi7GMyvrgg1ZZ49LGNAZpUenj1qxA2",
    "kplpETywkCLE2IRD9VRopDDOHCy5L045h5BsALSbzzPOQQ7x/N4Z3HXwt3YqUR1C",
    "d49HSLU+jy2wa3sejgBozpwkzoFIyUhA8ZJFbFanox0Lg3ECQQD4Igi0G2/nzLbQ",
    "SCWreD11GDDNvD8jE1DpvDHYDCWCCFTcscRt15KHwcjSHjwwwaFXvQVgct8h1BIC",
    "fMt28WG9AkEA76KT8Te9YA7u+YYsggwi9oFsTroKltKUZDuDjomkaTGaCKWbJgII",
    "oiqdMrsiHmrI0KNIS5BMjISB5zXj4qAdJQJBAL0Wgndt6StFr5KtSDeRG5Rd6OL/",
    "L0X1dFWKGpm/N94Np02/Eid6famCnRyx+cBV7jPEUZKcNzm6ODc5DnwHmikCQGgb",
    "gZpyVNu+oSPWns+A5k+huqQZPzB3G/DPyj/KnJr26ayIBfdlOsr5KII5uoDsc4Hw",
    "7h+l+RuzFZyVVQPH++ECQA/mpLNg7teSb8E3454Wf4Vwc+rVSO9DdtUtJljv6SLy",
    "QuDSAWvSo0y0y/kTOON3Xy2PzOB5O/bpCXlJEWabFKk=",
    "-----END RSA PRIVATE KEY-----",
    "",
  ].join("\n"),
};

export const GOLDEN_TABLE = [
  "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,efuse_key",
  "ESP_SECURE_CERT_CA_CERT_TLV,0,g.crt,file,,,,,",
  "ESP_SECURE_CERT_DEV_CERT_TLV,0,g.crt,file,,,,,",
  "ESP_SECURE_CERT_PRIV_KEY_TLV,0,g.key,file,plaintext,ECDSA,256,,",
  "ESP_SECURE_CERT_PRIV_KEY_TLV,1,g.rsa,file,rsa_ds,RSA,1024,3,g.hmac",
  "ESP_SECURE_CERT_USER_DATA_1_TLV,0,serial A-7,string,,,,,",
  "52,2,00ff 10,hex,,,,,",
].join("\n");

export const GOLDEN_SHA256 = "6d0c78e6ef7f10182118b9dbd1e3ef97cc1daa2ada54215db77aeebba6fc79f2";
