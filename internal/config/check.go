package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/access"
	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// check finds what is wrong with the values. n is the tree that the
// configuration was read from, for the line numbers; nil for one that was
// changed in memory.
func (c *Config) check(n *node) error {
	if err := checkTexts(reflect.ValueOf(*c), "config"); err != nil {
		return err
	}
	k := checker{c: c, root: n}
	for _, f := range []func() error{
		k.identity, k.interfaces, k.listeners, k.limits, k.reputation, k.delivery, k.routes, k.destinations, k.bounceProfiles, k.reports, k.alerts, k.managers, k.database, k.metrics, k.quarantines, k.dictionaries, k.texts, k.antispam, k.antivirus, k.outbreak, k.fileAnalysis, k.dlp, k.senderAuth, k.mailPolicies, k.contentFilters, k.contentStore, k.appliances, k.senders, k.users, k.logs,
		k.certificates, k.ssl, k.linkLimits,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// checkTexts refuses what a file cannot hold or a log line must not: without
// it, two names that differ by a control character would be one name on disk.
func checkTexts(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fields(v) {
			if err := checkTexts(f.value, path+"/"+strings.ReplaceAll(f.tag, ">", "/")); err != nil {
				return err
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := checkTexts(v.Index(i), path); err != nil {
				return err
			}
		}
	case reflect.String:
		if !utf8.ValidString(v.String()) || strings.ContainsFunc(v.String(), unprintable) {
			return errs.New(errs.Invalid, "%s: there is a control character in %q", path, clip(v.String()))
		}
	}
	return nil
}

// unprintable characters have no place in a setting; line ends and tabs have.
func unprintable(r rune) bool {
	switch r {
	case '\n', '\r', '\t':
		return false
	case 0x2028, 0x2029, 0xfffe, 0xffff:
		return true
	}
	return unicode.IsControl(r)
}

// Check finds what is wrong with a configuration that was changed in memory.
func (c *Config) Check() error { return c.check(nil) }

type checker struct {
	c    *Config
	root *node
}

// at makes an error with the place of an element: path is a/b, index counts
// the b from 0, field may be empty.
func (k checker) at(path string, index int, field, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	n := k.find(path, index, field)
	if n != nil {
		return errs.New(errs.Invalid, "%s: %s", n.place(), text)
	}
	place := "config/" + path
	if field != "" {
		place += "/" + field
	}
	return errs.New(errs.Invalid, "%s: %s", place, text)
}

func (k checker) find(path string, index int, field string) *node {
	n := k.root
	for i, part := range strings.Split(path, "/") {
		skip := 0
		if i == strings.Count(path, "/") {
			skip = index
		}
		if n = child(n, part, skip); n == nil {
			return nil
		}
	}
	if f := child(n, field, 0); f != nil {
		return f
	}
	return n
}

func child(n *node, name string, skip int) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == name {
			if skip == 0 {
				return c
			}
			skip--
		}
	}
	return nil
}

func (k checker) identity() error {
	c := k.c
	if c.Role != string(Gateway) && c.Role != string(Manager) {
		return k.at("role", 0, "", "%q is neither gateway nor manager", clip(c.Role))
	}
	if _, err := mail.ParseDomain(c.Hostname); err != nil || strings.Count(c.Hostname, ".") < 2 || strings.HasPrefix(c.Hostname, "[") {
		return k.at("hostname", 0, "", "%q is not a host name of three labels or more, such as gw1.example.com", clip(c.Hostname))
	}
	if !mail.ValidSerial(c.Serial) {
		return k.at("serial_number", 0, "", "%q is not a serial: 8 to 40 upper-case letters and digits", clip(c.Serial))
	}
	if c.Filters != "" && c.Role == string(Manager) {
		return k.at("message_filters", 0, "", "a manager has no message filters")
	}
	return nil
}

func (k checker) interfaces() error {
	seen := map[string]bool{}
	for i, f := range k.c.Interfaces {
		if f.Name == "" || len(f.Name) > 64 || strings.ContainsAny(f.Name, "\r\n\"<>") {
			return k.at("interfaces/interface", i, "interface_name", "%q is not a name of 1 to 64 characters", clip(f.Name))
		}
		if seen[f.Name] {
			return k.at("interfaces/interface", i, "interface_name", "interface %q exists already", f.Name)
		}
		seen[f.Name] = true
		if _, err := mail.ParseDomain(f.Hostname); f.Hostname != "" && (err != nil || f.Hostname[0] == '[') {
			return k.at("interfaces/interface", i, "interface_hostname", "%q is not a host name", clip(f.Hostname))
		}
		if ip, err := netip.ParseAddr(f.IP); err != nil || ip.Zone() != "" {
			return k.at("interfaces/interface", i, "ip", "%q is not an IP address", clip(f.IP))
		}
	}
	if len(k.c.Interfaces) == 0 {
		return k.at("interfaces", 0, "", "there is no interface")
	}
	if err := k.iface("ssh", 0, k.c.SSH.Interface); err != nil {
		return err
	}
	return k.port("ssh", 0, k.c.SSH.Port)
}

func (k checker) names() string {
	var all []string
	for _, i := range k.c.Interfaces {
		all = append(all, i.Name)
	}
	return strings.Join(all, ", ")
}

func (k checker) iface(path string, i int, name string) error {
	if k.c.InterfaceIP(name) == "" {
		return k.at(path, i, "interface_name", "interface %q does not exist; there are %s", clip(name), k.names())
	}
	return nil
}

func (k checker) port(path string, i int, port int) error {
	if port < 1 || port > 65535 {
		return k.at(path, i, "port", "%d is not a port from 1 to 65535", port)
	}
	return nil
}

func (k checker) listeners() error {
	const path = "listeners/listener"
	names, addrs := map[string]bool{}, map[string]string{k.c.InterfaceIP(k.c.SSH.Interface) + " " + strconv.Itoa(k.c.SSH.Port): "ssh"}
	cpq := 0
	for i, l := range k.c.Listeners {
		if l.Name == "" || len(l.Name) > 64 || strings.ContainsAny(l.Name, "\r\n\"<>,") {
			return k.at(path, i, "listener_name", "%q is not a name of 1 to 64 characters", clip(l.Name))
		}
		if names[l.Name] {
			return k.at(path, i, "listener_name", "listener %q exists already", l.Name)
		}
		names[l.Name] = true
		if err := k.listener(path, i, l); err != nil {
			return err
		}
		where := k.c.InterfaceIP(l.Interface) + " " + strconv.Itoa(l.Port)
		if other := addrs[where]; other != "" {
			return k.at(path, i, "port", "%s has the same address and port", other)
		}
		addrs[where] = l.Name
		if l.Protocol == "CPQ" {
			cpq++
		}
	}
	if cpq != 1 {
		return k.at("listeners", 0, "", "there are %d listeners with protocol CPQ: exactly one belongs here, the cpq_listener", cpq)
	}
	return nil
}

func (k checker) listener(path string, i int, l Listener) error {
	switch {
	case l.Protocol != "SMTP" && l.Protocol != "CPQ":
		return k.at(path, i, "protocol", "%q is neither SMTP nor CPQ", clip(l.Protocol))
	case (l.Protocol == "CPQ") != (l.Name == "cpq_listener"):
		return k.at(path, i, "listener_name", "the listener with protocol CPQ, and no other, is named cpq_listener")
	case l.Protocol == "SMTP" && k.c.Role == string(Manager):
		return k.at(path, i, "protocol", "a manager takes no mail over SMTP")
	case l.Backlog < 1 || l.Backlog > 65535:
		return k.at(path, i, "listen_queue_size", "%d is not a number from 1 to 65535", l.Backlog)
	}
	if err := k.iface(path, i, l.Interface); err != nil {
		return err
	}
	if err := k.port(path, i, l.Port); err != nil {
		return err
	}
	kind, err := access.ParseKind(l.Type)
	if err != nil {
		return k.at(path, i, "type", "%s", errs.Public(err))
	}
	hat, err := access.ParseHAT(l.HAT)
	if err != nil {
		return k.at(path, i, "hat", "%s", errs.Public(err))
	}
	for _, p := range hat.Policies() {
		if p.Params.Auth != access.AuthOff && p.Params.TLS == access.TLSOff {
			return k.at(path, i, "hat", "policy $%s: smtp_auth is taken inside TLS only, and tls is off", p.Name)
		}
	}
	if _, err := access.NewRAT(l.RAT); err != nil {
		return k.at(path, i, "rat", "%s", errs.Public(err))
	}
	if kind == access.Public && len(l.RAT) == 0 {
		return k.at(path, i, "rat", "a public listener needs a recipient access table: without one it would relay for everybody")
	}
	return nil
}

func (k checker) limits() error {
	l := k.c.Limits
	switch {
	case l.MessageSize < 1024 || l.MessageSize > 4<<30:
		return k.at("limits", 0, "max_message_size", "%d is not a size from 1024 bytes to 4 GiB", l.MessageSize)
	case l.Recipients < 100 || l.Recipients > 100_000:
		return k.at("limits", 0, "max_recipients", "%d is not a number from 100 (RFC 5321) to 100000", l.Recipients)
	case l.Clients < 1 || l.Clients > 100_000:
		return k.at("limits", 0, "max_connections", "%d is not a number from 1 to 100000", l.Clients)
	case l.Newlines != "reject" && l.Newlines != "normalise" && l.Newlines != american:
		return k.at("limits", 0, "bare_newlines", "%q is neither reject nor normalise", clip(l.Newlines))
	case l.EightBit != "" && l.EightBit != "accept" && l.EightBit != "reject":
		return k.at("limits", 0, "eight_bit_headers", "%q is neither accept nor reject", clip(l.EightBit))
	}
	return nil
}

func (k checker) routes() error {
	for i, r := range k.c.SMTPRoutes {
		if r.Domain == "" || strings.ContainsAny(r.Domain, " \t\r\n") {
			return k.at("smtproutes/smtproute", i, "domain", "%q is not a domain, .domain or ALL", clip(r.Domain))
		}
		if len(r.Hosts) == 0 {
			return k.at("smtproutes/smtproute", i, "", "the route for %q has no host", r.Domain)
		}
		for _, h := range r.Hosts {
			if h == "" || strings.ContainsAny(h, "\r\n") {
				return k.at("smtproutes/smtproute", i, "host", "%q is not a host", clip(h))
			}
		}
	}
	return nil
}

func (k checker) pins(path string, i int, pins []string) error {
	if len(pins) < 1 || len(pins) > 2 {
		return k.at(path, i, "pin", "a peer has one pin, or two while its certificate is renewed")
	}
	for _, p := range pins {
		if _, err := certs.ParsePin(p); err != nil {
			return k.at(path, i, "pin", "%s", errs.Public(err))
		}
	}
	return nil
}

func (k checker) managers() error {
	const path = "centralized_quarantine/managers/manager"
	if k.c.Role == string(Manager) && (k.c.CPQ.Enabled || len(k.c.CPQ.Managers) > 0) {
		return k.at("centralized_quarantine", 0, "", "a manager has no manager")
	}
	if k.c.CPQ.Enabled && len(k.c.CPQ.Managers) == 0 {
		return k.at("centralized_quarantine", 0, "enabled", "no manager is paired; add this gateway with applianceconfig on the manager")
	}
	for i, m := range k.c.CPQ.Managers {
		if !mail.ValidSerial(m.Serial) || m.Serial == k.c.Serial {
			return k.at(path, i, "serial_number", "%q is not the serial of another appliance", clip(m.Serial))
		}
		for _, o := range k.c.CPQ.Managers[:i] {
			if o.Serial == m.Serial {
				return k.at(path, i, "serial_number", "%s is there twice", m.Serial)
			}
		}
		if len(m.Records) > 64 || strings.Trim(m.Records, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			return k.at(path, i, "records", "%q is not the name of a database: pairing writes it", clip(m.Records))
		}
		if a, err := netip.ParseAddrPort(m.Addr); err != nil || a.Port() == 0 {
			return k.at(path, i, "address", "%q is not IP:port", clip(m.Addr))
		}
		if err := k.pins(path, i, m.Pins); err != nil {
			return err
		}
	}
	return nil
}

func (k checker) appliances() error {
	const path = "appliances/appliance"
	names, pinned := map[string]bool{}, map[string]string{}
	for i, a := range k.c.Appliances {
		switch {
		case k.c.Role != string(Manager):
			return k.at("appliances", 0, "", "appliances are settings of a manager")
		case a.Name == "" || len(a.Name) > 64 || names[a.Name]:
			return k.at(path, i, "name", "%q is not a name of its own", clip(a.Name))
		case !mail.ValidSerial(a.Serial) || names[a.Serial]:
			return k.at(path, i, "serial_number", "%q is not a serial of its own", clip(a.Serial))
		case a.User == "" || a.HostKey == "" || a.SSH == "":
			return k.at(path, i, "", "ssh_address, ssh_user and ssh_host_key are needed; add the appliance with applianceconfig")
		}
		names[a.Name], names[a.Serial] = true, true
		if err := k.pins(path, i, a.Pins); err != nil {
			return err
		}
		for _, p := range a.Pins { // whose connection it is must not depend on the order
			if other, is := pinned[p]; is && other != a.Name {
				return k.at(path, i, "pin", "%q has the CPQ certificate of %q", a.Name, other)
			}
			pinned[p] = a.Name
		}
	}
	return nil
}

func (k checker) users() error {
	admins, seen := 0, map[string]bool{}
	for i, u := range k.c.Users {
		if u.Password == mask {
			return k.at("users/user", i, "enc_password", "the passphrase is masked; a file with masked passphrases cannot be loaded")
		}
		if seen[u.Name] {
			return k.at("users/user", i, "username", "user %q exists already", clip(u.Name))
		}
		seen[u.Name] = true
		if err := u.Auth().Check(); err != nil {
			return k.at("users/user", i, "", "%s", err) // with the cause; auth quotes neither hash nor key
		}
		if u.Group == string(mail.Administrator) {
			admins++
		}
	}
	if admins == 0 {
		return k.at("users", 0, "", "there is no user of the group Administrator")
	}
	return nil
}

func (k checker) logs() error {
	l := k.c.Log.Mail
	switch {
	case l.Size < 64<<10 || l.Size > 10<<30:
		return k.at("log_subscriptions/log_text", 0, "rolloversize", "%d is not a size from 64 KiB to 10 GiB", l.Size)
	case l.MaxFiles < 1 || l.MaxFiles > 1000:
		return k.at("log_subscriptions/log_text", 0, "rollover_max_files", "%d is not a number from 1 to 1000", l.MaxFiles)
	}
	return nil
}

// Auth gives the user as auth reads it.
func (u User) Auth() auth.User {
	return auth.User{Name: u.Name, FullName: u.FullName, Group: mail.Role(u.Group), Hash: u.Password, Keys: u.Keys}
}

// AuthUsers gives all users.
func (c *Config) AuthUsers() []auth.User {
	all := make([]auth.User, 0, len(c.Users))
	for _, u := range c.Users {
		all = append(all, u.Auth())
	}
	return all
}
