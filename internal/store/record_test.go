package store

import (
	"encoding/json"
	"net/netip"
	"testing"

	"lazaret/internal/mail"
)

// Of the origin of a message nothing is stored but what there is, and what is
// stored by an earlier version, with everything, is read as before.
func TestOriginAsStored(t *testing.T) {
	full := mail.Origin{ICID: 7, Listener: "in", Interface: "eth", RemoteIP: netip.MustParseAddr("192.0.2.1"), RemoteHost: "h.example", Helo: "helo",
		Protocol: "ESMTPS", SenderGroup: "G", Policy: "P", Relay: true, User: "u"}
	for _, c := range []struct {
		origin mail.Origin
		want   string
	}{
		{mail.Origin{}, `{"policy":"DEFAULT"}`},
		{mail.Origin{Helo: "x"}, `{"policy":"DEFAULT","origin":{"helo":"x"}}`},
		{full, `{"policy":"DEFAULT","origin":{"icid":7,"listener":"in","interface":"eth","remote_ip":"192.0.2.1","remote_host":"h.example","helo":"helo",` +
			`"protocol":"ESMTPS","sender_group":"G","policy":"P","relay":true,"user":"u"}}`},
	} {
		b, err := json.Marshal(detail{Policy: "DEFAULT", Origin: origin(c.origin)})
		if err != nil || string(b) != c.want {
			t.Errorf("%s, %v; want %s", b, err, c.want)
		}
		old, err := json.Marshal(map[string]any{"policy": "DEFAULT", "origin": c.origin})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{b, old} {
			var d detail
			if err := json.Unmarshal(text, &d); err != nil || mail.Origin(d.Origin) != c.origin {
				t.Errorf("%s is read as %+v, %v", text, d.Origin, err)
			}
		}
	}
}
