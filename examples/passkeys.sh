#!/bin/sh
# Switches passkeys on in the environment of the variables of `narthex dev`: a button on the sign-in page, and the offer to make one
# after a sign-in by mail. A new environment has them switched off.
set -eu
ask() { curl -sSf --cacert "$NARTHEX_CA_FILE" "$@"; }
api="$SCALEKIT_ENVIRONMENT_URL/api/v1/connections"
token=$(ask -u "$SCALEKIT_CLIENT_ID:$SCALEKIT_CLIENT_SECRET" -d grant_type=client_credentials "$SCALEKIT_ENVIRONMENT_URL/oauth/token" |
  sed 's/.*"access_token":"\([^"]*\)".*/\1/')
call() { ask -H "authorization: Bearer $token" "$@"; }
id=$(call "$api?include=all" | tr '{' '\n' | sed -n '/"type":"WEBAUTHN"/s/.*"id":"\([^"]*\)".*/\1/p')
call -o /dev/null -X PATCH -H 'content-type: application/json' "$api/$id" -d '{
  "type": "WEBAUTHN", "provider_key": "SCALEKIT", "key_id": "WEBAUTHN",
  "webauthn_config": {"show_passkey_button": true, "enable_auto_registration": true, "enable_conditional_login": false}
}'
call -o /dev/null -X PATCH "$api/$id:enable"
echo "Passkeys are on at $SCALEKIT_ENVIRONMENT_URL"
