// Package config is the configuration of an appliance: typed, read strictly
// from XML and written back with comments, with pending changes that become
// real by commit.
//
// It is not the appliance: what a setting does is known to the room that owns
// it, and the role applies what was committed. It promises that a file with an
// unknown element, a bad value or a name that does not exist is refused with
// the place, that a commit is on stable storage before it takes effect, and
// that nothing half-changed is ever in force.
package config

import (
	"net/netip"

	"lazaret/internal/access"
	"lazaret/internal/errs"
)

// Role of an appliance.
type Role string

// The roles.
const (
	Gateway Role = "gateway"
	Manager Role = "manager"
)

// Config is the whole configuration. Its order is the order in the file.
type Config struct {
	Role        string       `xml:"role" doc:"gateway or manager; fixed at init"`
	Hostname    string       `xml:"hostname" doc:"the appliance's own name, three labels or more: it is said in banners, Received lines and the prompt"`
	Serial      string       `xml:"serial_number" doc:"names this appliance for ever in message keys; fixed at init"`
	Interfaces  []Interface  `xml:"interfaces>interface" doc:"named local addresses; listeners and deliveries refer to them by name"`
	SSH         SSH          `xml:"ssh" doc:"the command line: ssh -p PORT USER@ADDRESS"`
	Listeners   []Listener   `xml:"listeners>listener" doc:"SMTP listeners, public or private, and the hidden cpq_listener; <hat> is the host access table in its own text form, <rat> the recipient access table (docs/hat.md)"`
	Limits      Limits       `xml:"limits" doc:"limits of all SMTP listeners; mail flow policies in the HAT may set lower ones, and one that sets none has 50 MiB and 1000 recipients"`
	Reputation  Reputation   `xml:"reputation" doc:"where the scores come from that sbrs[...] in a HAT asks for: source is none, file (file: its path, relative to the appliance's directory if not absolute) or dns (zone: one that answers 127.0.4.0 to 127.0.4.100)"`
	Delivery    Delivery     `xml:"deliveryconfig" doc:"default_interface: interface that deliveries leave from, or Auto: one in the same network, else as the system chooses; possible_delivery: off tries mail again soon that was perhaps delivered; max_concurrency: connections to all destinations, 0 is 1000"`
	AltSrcHosts []AltSrcHost `xml:"altsrchosts>altsrchost" doc:"mail that leaves from an interface of its own: match is user@domain, domain, .domain of the envelope sender, or the client's address or network"`
	DNSServers  []DNSServer  `xml:"dns>server" doc:"recursive resolvers, three at most, instead of those of the system: IP or IP:port; validates: 1 believes this one about DNSSEC, as one on the machine itself always is"`

	SMTPRoutes   []SMTPRoute   `xml:"smtproutes>smtproute" doc:"where mail for a domain goes instead of its MX: domain, .domain or ALL, and hosts such as mail.example.com, [192.0.2.1]:2525, USEDNS, /dev/null"`
	Destinations []Destination `xml:"destination_controls>destination_control" doc:"per domain, or DEFAULT: tls is none, preferred, required, preferred-verify or required-verify; concurrency and messages_per_connection are limits, 0 is the default; recipient_limit in recipient_minutes (1 to 60), 0 is none; ip_preference is prefer-ipv4, prefer-ipv6, ipv4-only or ipv6-only; dane and mta_sts are on or off"`

	BounceProfiles []BounceProfile `xml:"bounce_profiles>bounce_profile" doc:"how often and how long delivery is tried, in seconds, and what senders hear (docs/bounces.md); Default is always there; never applied to the.cpq.host and the.cpq.release.host, which neither expire nor bounce"`
	Reports        Reports         `xml:"bounces" doc:"for all bounce profiles: sender_address is in the field From of reports, empty is MAILER-DAEMON at the host name; outside_per_domain and outside_per_hour limit reports to senders that are not ours, 0 is the default; undelivered_days is how long is kept what nobody could be told of"`

	Alerts Alerts `xml:"alerts" doc:"who hears of trouble by mail; classes are certificates, cpq, delivery, hardware, quarantine, system, empty is all; a repeated alert is held back for initial_interval seconds, doubled up to max_interval"`

	Filters string `xml:"message_filters" doc:"message filters, in order (docs/filters.md)"`

	Dictionaries []Dictionary `xml:"dictionaries>dictionary" doc:"on a gateway: terms that filters look for; a term is a word, a regular expression or a smart identifier such as *credit, and may have a weight of 0 to 10 behind a comma; case_sensitive 1: case counts; parts_of_words 1: a part of a longer word counts (docs/filters.md)"`

	Texts []TextResource `xml:"text_resources>text_resource" doc:"on a gateway: texts that filters name, disclaimers and what notices say; plain is text in lines, html the same for mail in HTML, empty is as plain looks; both may have the variables of filters (docs/filters.md)"`

	ContentFilters []ContentFilter `xml:"content_filters>content_filter" doc:"on a gateway: table is inbound or outbound; they run in this order for the mail policies that name them, behind the antivirus stage; match is all or any of the conditions, a condition is one of message filters such as subject == 'x', an action one of theirs such as quarantine('Policy') (docs/filters.md)"`

	DLPPolicies []DLPPolicy `xml:"dlp_policies>dlp_policy" doc:"on a gateway: what is not to leave; dictionary names a content dictionary, identifier is such as *credit, each match of which counts identifier_weight (10), as many as are needed; severity: level is low, medium, high or critical, from_risk_factor the sum from which on it is so (10, 35, 60, 90; 0 is never), action deliver, drop or quarantine, then quarantine names one; subject_tag and add_header (X-Name: value) for what goes on (docs/dlp.md)"`

	Antispam     Antispam     `xml:"antispam" doc:"on a gateway: rspamd is the URL of its normal worker such as http://127.0.0.1:11333, empty is none; rspamd_password if it wants one; max_message_size such as 50M, larger mail is not asked about; timeout for a message (docs/scanning.md)"`
	Antivirus    Antivirus    `xml:"antivirus" doc:"on a gateway: clamd is the path of its socket or host:port, empty is no scanning; max_database_age such as 7d makes what older signatures would pass unscanned, 0 accepts any; max_message_size such as 25M, larger mail is unscannable, 0 leaves it to clamd; timeout for a message (docs/scanning.md)"`
	Outbreak     Outbreak     `xml:"outbreak_filters" doc:"on a gateway: source is where the signed feed of outbreak rules is, an absolute path or an HTTPS URL, empty is no rules; feed is the name that it must have, key a public key that may sign it (ed25519:...), as many as are needed; poll is how often it is asked for, such as 5m; ca_file has the roots for its server, empty is those of the system; max_message_size such as 20M, larger mail is not held against rules, empty is no limit (docs/outbreak.md)"`
	FileAnalysis FileAnalysis `xml:"file_analysis" doc:"on a gateway: analyser is the URL of an analyser of attachments, empty is none; analyser_password is what it wants to see; ca_file has the roots for its server, empty is those of the system; kind is of files that it is asked about, such as executable, document or all; max_file_size such as 20M, larger files are unscannable; timeout for one question (docs/analysis.md)"`
	SenderAuth   SenderAuth   `xml:"sender_authentication" doc:"on a gateway: verify on asks SPF, DKIM, DMARC and ARC about mail from outside and adds Authentication-Results; dmarc_fail deliver or quarantine (into Policy) is for what fails a DMARC policy of quarantine or reject (docs/senders.md)"`
	MailPolicies []MailPolicy `xml:"mail_policies>mail_policy" doc:"on a gateway: table is inbound or outbound; the first policy that is for sender and recipient counts, DEFAULT for all others; sender and recipient are user@domain, user@, domain, .domain or ALL; antispam, antivirus and outbreak are default, custom or off; so is content_filters, and with custom each content_filter names one that runs; antispam_verdict: verdict is positive, suspect or unknown; antivirus_verdict: verdict is repaired, encrypted, unscannable, infected or unscanned, action deliver, drop, quarantine or, of unscanned and unknown, wait, with subject_tag and add_header (X-Name: value) for what goes on (docs/scanning.md); outbreak_settings: threshold is the level of threat, 1 to 5, from which on mail is held, viral_retention and other_retention how long at most, deliver_nonviral 1 delivers what is not viral, bypass_extension is of attachments that do not count, modify_level that from which on delivered mail is changed, modify_subject what its subject has in front, modify_headers 0 adds no fields (docs/outbreak.md); dlp is default, custom or off, of the outbound table, and with custom each dlp_policy names one that counts (docs/dlp.md); file_analysis is default, custom or off, file_analysis_verdict: verdict is malicious, pending, unscannable or unscanned (docs/analysis.md)"`

	CPQ             CPQ             `xml:"centralized_quarantine" doc:"on a gateway: enabled means that quarantined mail goes to the manager, else to the quarantines of its own"`
	Quarantines     []Quarantine    `xml:"quarantines>quarantine" doc:"on a manager, and for mail that is not centralised on a gateway: what names one by a former_name means it, until that is taken away; retention_period such as 10d or 12h, default_action Delete or Release; overflow_exempt 1 keeps its messages when the pool is full; with default_action Release, early_subject, early_subject_place (start or end), early_header (X-Name: value) and early_strip (1: attachments go) are done to what is released to make room"`
	QuarantineRules QuarantineRules `xml:"quarantine_rules" doc:"for all quarantines of this appliance: undo_release is how long a release can be taken back before it leaves, delete_rest how long deleted mail rests in the bin; such as 30s or 7d, 0 is not at all; pool_size is how much content they may hold together, such as 20G, 0 is as much as the disk; keep_released is how long what a gateway took is kept at most until it is proven that it was delivered, such as 5d; search_text is how much of the text of each message can be searched, such as 16K, 0 is none; empty is the default"`
	ContentStore    ContentStore    `xml:"content_store" doc:"on a manager: an S3-compatible bucket for the content of quarantined messages (docs/storage.md), read at the start; empty is this machine; path_style 1 puts the bucket into the path, credentials_file is like ~/.aws/credentials, empty is the environment"`
	Appliances      []Appliance     `xml:"appliances>appliance" doc:"on a manager: the gateways it works for, as pairing wrote them"`

	Senders []Sender `xml:"smtp_auth_users>smtp_auth_user" doc:"who may send mail after SMTP AUTH, where a mail flow policy has smtp_auth = preferred or required; they are no administrators"`

	Users []User `xml:"users>user" doc:"administrators; enc_password is an argon2id hash, group a role"`
	Log   Log    `xml:"log_subscriptions" doc:"mail_logs: a file is closed at rolloversize bytes, rollover_max_files closed ones are kept"`

	Certificates []Certificate `xml:"certificates>certificate" doc:"certificates in files, for listeners and outbound SMTP; files that change are read again; key_file may be left out when the key is in certificate_file"`
	SSL          SSL           `xml:"ssl" doc:"the least version of TLS (TLSv1.2 or TLSv1.3) and the ciphers of SMTP; CPQ always speaks TLS 1.3 with pinned certificates"`

	Database Database `xml:"database" doc:"on a manager: where the records of the quarantines are; both empty is a file in its own directory; dsn is the address of a PostgreSQL database (docs/database.md), or dsn_file a file of mode 600 that has it, relative to the appliance's directory if not absolute; a change takes effect at the next start"`

	Metrics Metrics `xml:"metrics" doc:"listen is IP:port where numbers are shown at /metrics in the form of Prometheus (docs/metrics.md); empty is off; nobody logs in there, so it belongs on 127.0.0.1 or on a network of its own"`

	GatewayQuota  GatewayQuota  `xml:"gateway_quota" doc:"on a manager: what one gateway may bring; 0 is the default"`
	ReleaseLimits ReleaseLimits `xml:"release_limits" doc:"on a gateway: what a manager may give back; 0 is the default"`
}

// Interface is a named local address.
type Interface struct {
	Name     string `xml:"interface_name"`
	IP       string `xml:"ip"`
	Hostname string `xml:"interface_hostname"`
}

// SSH is where the command line listens.
type SSH struct {
	Interface string `xml:"interface_name"`
	Port      int    `xml:"port"`
}

// Listener is the element of the seed, element for element.
type Listener struct {
	Name      string            `xml:"listener_name"`
	Protocol  string            `xml:"protocol"`
	Interface string            `xml:"interface_name"`
	Port      int               `xml:"port"`
	Backlog   int               `xml:"listen_queue_size"`
	Type      string            `xml:"type"`
	HAT       string            `xml:"hat"`
	RAT       []access.RATEntry `xml:"rat>rat_entry"`
	Profile   string            `xml:"bounce_profile"` // of BounceProfiles, for mail that came in here; empty: the destination's

	Certificates []string `xml:"certificate"`
}

// Limits of all SMTP listeners.
type Limits struct {
	MessageSize int64  `xml:"max_message_size"`
	Recipients  int    `xml:"max_recipients"`
	Clients     int    `xml:"max_connections"`
	Newlines    string `xml:"bare_newlines" doc:"what happens to a message with a bare CR, a bare LF or a NUL: reject or normalise"`
	EightBit    string `xml:"eight_bit_headers" doc:"what happens to a message whose header is not ASCII and that came without SMTPUTF8: accept or reject"`
}

// Reputation is where the scores of clients come from (docs/hat.md).
type Reputation struct {
	Source string `xml:"source"` // none, file or dns; empty is none
	File   string `xml:"file"`
	Zone   string `xml:"zone"`
}

// Delivery is what all deliveries share.
type Delivery struct {
	Interface   string `xml:"default_interface"`
	Possible    string `xml:"possible_delivery"`
	Concurrency int    `xml:"max_concurrency"`
}

// AltSrcHost is one row of altsrchost: mail that leaves by an interface of its own.
type AltSrcHost struct {
	Match     string `xml:"match"`
	Interface string `xml:"interface_name"`
}

// DNSServer is a recursive resolver.
type DNSServer struct {
	Addr      string `xml:"address"`
	Validates bool   `xml:"validates"`
}

// SMTPRoute is one row of the SMTP routes.
type SMTPRoute struct {
	Domain string   `xml:"domain"`
	Hosts  []string `xml:"host"`
}

// Destination is one row of the destination controls.
type Destination struct {
	Domain        string `xml:"domain"`
	TLS           string `xml:"tls"`
	Concurrency   int    `xml:"concurrency"`
	Messages      int    `xml:"messages_per_connection"`
	IP            string `xml:"ip_preference"`
	RateLimit     int    `xml:"recipient_limit"`
	RateMinutes   int    `xml:"recipient_minutes"`
	DANE          string `xml:"dane"`
	MTASTS        string `xml:"mta_sts"`
	BounceProfile string `xml:"bounce_profile"`
}

// CPQ is a gateway's link to its manager. Where this side listens is the
// listener with protocol CPQ.
type CPQ struct {
	Enabled  bool  `xml:"enabled"`
	Managers []Mgr `xml:"managers>manager" doc:"as pairing wrote them: where the manager takes mail, and the pins of its CPQ certificate, two while it is renewed"`
}

// Mgr is a manager that a gateway works with.
type Mgr struct {
	Serial string   `xml:"serial_number"`
	Name   string   `xml:"name"`
	Addr   string   `xml:"address"`
	Pins   []string `xml:"pin"`

	// Records names the database server's database that it works on; empty: on one
	// of its own. Managers with the same one are managers of one gateway.
	Records string `xml:"records"`
}

// Quarantine is one of a manager's.
type Quarantine struct {
	Name      string   `xml:"quarantine_name"`
	Former    []string `xml:"former_name"`
	Kind      string   `xml:"quarantine_type"`
	Retention string   `xml:"retention_period"`
	Action    string   `xml:"default_action"`
	Exempt    bool     `xml:"overflow_exempt"`
	Clean     bool     `xml:"release_clean"` // what is found harmless when it is scanned again is released
	Users     []string `xml:"quarantine_user"`
	Roles     []string `xml:"quarantine_role"`

	// Done to what is released before its time, to make room.
	Tag    string `xml:"early_subject"`
	Place  string `xml:"early_subject_place"` // start or end; empty: start
	Header string `xml:"early_header"`        // X-Name: value
	Strip  bool   `xml:"early_strip"`
}

// QuarantineRules hold for all quarantines.
type QuarantineRules struct {
	UndoRelease  string `xml:"undo_release"`
	DeleteRest   string `xml:"delete_rest"`
	Pool         string `xml:"pool_size"`
	KeepReleased string `xml:"keep_released"`
	SearchText   string `xml:"search_text"`

	ReportFalse      string `xml:"report_false_positive"` // address; empty: nobody hears
	ReportSuspicious string `xml:"report_suspicious"`
}

// Appliance is a gateway that a manager works for.
type Appliance struct {
	Name    string   `xml:"name"`
	Serial  string   `xml:"serial_number"`
	SSH     string   `xml:"ssh_address"`
	User    string   `xml:"ssh_user"`
	HostKey string   `xml:"ssh_host_key"`
	Pins    []string `xml:"pin"`
}

// User is an administrator.
type User struct {
	Name     string   `xml:"username"`
	FullName string   `xml:"fullname"`
	Group    string   `xml:"group"`
	Password string   `xml:"enc_password" secret:"1"`
	Keys     []string `xml:"ssh_key"`
}

// Sender is a user of SMTP AUTH.
type Sender struct {
	Name     string `xml:"username"`
	Password string `xml:"enc_password" secret:"1"`
}

// Log holds the log subscriptions.
type Log struct {
	Mail LogText `xml:"log_text"`
}

// LogText is one subscription.
type LogText struct {
	Name     string `xml:"name"`
	Size     int64  `xml:"rolloversize"`
	MaxFiles int    `xml:"rollover_max_files"`
}

// InterfaceIP gives the address of a named interface, or nothing.
func (c *Config) InterfaceIP(name string) string {
	for _, i := range c.Interfaces {
		if i.Name == name {
			return i.IP
		}
	}
	return ""
}

// Listener gives the listener of that name, or nil.
func (c *Config) Listener(name string) *Listener {
	for i := range c.Listeners {
		if c.Listeners[i].Name == name {
			return &c.Listeners[i]
		}
	}
	return nil
}

// User gives the user of that name, or nil.
func (c *Config) User(name string) *User {
	for i := range c.Users {
		if c.Users[i].Name == name {
			return &c.Users[i]
		}
	}
	return nil
}

// Sender gives the SMTP AUTH user of that name, or nil.
func (c *Config) Sender(name string) *Sender {
	for i := range c.Senders {
		if c.Senders[i].Name == name {
			return &c.Senders[i]
		}
	}
	return nil
}

// CPQListener gives the hidden listener; a checked configuration has one.
func (c *Config) CPQListener() *Listener {
	for i := range c.Listeners {
		if c.Listeners[i].Protocol == "CPQ" {
			return &c.Listeners[i]
		}
	}
	return &Listener{}
}

// AdmitPeer puts the address of the other appliance into the RELAYLIST of the
// hidden listener, the group that the seed shows there.
func (c *Config) AdmitPeer(ip netip.Addr, name string) error {
	l := c.CPQListener()
	hat, err := access.ParseHAT(l.HAT)
	if err != nil {
		return err
	}
	if !ip.IsValid() || ip.IsUnspecified() || hat.Decide(access.Client{IP: ip}).Action == access.Relay {
		return nil
	}
	if hat, err = hat.With("RELAYLIST", ip.Unmap().String(), name); err != nil {
		return err
	}
	l.HAT = hat.String()
	return nil
}

// MovePeer is for a peer whose address, with port, has changed.
func (c *Config) MovePeer(from, to, name string) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return errs.New(errs.Invalid, "%q is not IP:port", clip(to))
	}
	if old, err := netip.ParseAddrPort(from); err != nil || old.Addr().Unmap() != at.Addr().Unmap() {
		if err := c.DismissPeer(from); err != nil {
			return err
		}
	}
	return c.AdmitPeer(at.Addr(), name)
}

// DismissPeer takes an address, with or without port, out of the table again.
func (c *Config) DismissPeer(addr string) error {
	ip, err := netip.ParseAddr(addr)
	if at, perr := netip.ParseAddrPort(addr); perr == nil {
		ip, err = at.Addr(), nil
	}
	if err != nil {
		return nil // a name: pairing enters addresses only
	}
	l := c.CPQListener()
	hat, err := access.ParseHAT(l.HAT)
	if err == nil {
		hat, err = hat.Without("RELAYLIST", ip.Unmap().String())
	}
	if err != nil {
		return err
	}
	l.HAT = hat.String()
	return nil
}
