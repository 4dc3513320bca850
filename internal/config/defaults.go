package config

import (
	"lazaret/internal/access"
	"lazaret/internal/bounce"
	"lazaret/internal/certs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// Params are what init knows.
type Params struct {
	Role     Role
	Hostname string
	Serial   string
	IP       string // of the interface Management
	SSHPort  int
	SMTPPort int // gateway only
	CPQPort  int
	Password string // hash of the first administrator's
}

// DefaultBacklog is listen_queue_size of the seed.
const DefaultBacklog = 50

// Defaults gives the configuration of a new appliance.
func Defaults(p Params) *Config {
	c := &Config{
		Role: string(p.Role), Hostname: p.Hostname, Serial: p.Serial,
		Interfaces:     []Interface{{Name: "Management", IP: p.IP, Hostname: p.Hostname}},
		SSH:            SSH{Interface: "Management", Port: p.SSHPort},
		Limits:         Limits{MessageSize: 100 << 20, Recipients: 5000, Clients: 5000, Newlines: "reject", EightBit: "accept"},
		Reputation:     Reputation{Source: "none"},
		Delivery:       Delivery{Interface: "Auto"},
		SSL:            SSL{InboundMethod: "TLSv1.2", InboundCiphers: certs.DefaultCiphers, OutboundMethod: "TLSv1.2", OutboundCiphers: certs.DefaultCiphers},
		BounceProfiles: []BounceProfile{NewBounceProfile(bounce.DefaultProfile())},
		Users:          []User{{Name: "admin", FullName: "Administrator", Group: string(mail.Administrator), Password: p.Password}},
		Log:            Log{Mail: LogText{Name: "mail_logs", Size: 100 << 20, MaxFiles: 10}},
	}
	if p.Role == Gateway {
		c.Listeners = append(c.Listeners, Listener{
			Name: "IncomingMail", Protocol: "SMTP", Interface: "Management", Port: p.SMTPPort, Backlog: DefaultBacklog, Type: string(access.Public),
			HAT: access.DefaultHAT(access.Public).String(), RAT: []access.RATEntry{{Address: "ALL", Access: "REJECT"}},
		})
		c.Destinations = []Destination{{Domain: "DEFAULT", TLS: "preferred"}}
	}
	r := quarantine.DefaultRules()
	c.QuarantineRules = QuarantineRules{UndoRelease: FormatSpan(r.UndoRelease), DeleteRest: FormatSpan(r.DeleteRest), Pool: FormatSize(r.Pool), KeepReleased: FormatSpan(r.KeepTaken), SearchText: FormatSize(r.Text)}
	c.addQuarantines()
	c.Listeners = append(c.Listeners, Listener{
		Name: "cpq_listener", Protocol: "CPQ", Interface: "Management", Port: p.CPQPort, Backlog: DefaultBacklog, Type: string(access.Private),
		HAT: access.CPQHAT().String(), RAT: []access.RATEntry{{Address: "ALL", Access: "ACCEPT"}},
	})
	return c
}
