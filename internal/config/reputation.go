package config

import (
	"strings"

	"lazaret/internal/mail"
)

// reputation checks where scores come from. Whether a file can be read is
// found out by the role, which knows where it lies.
func (k checker) reputation() error {
	r := k.c.Reputation
	switch r.Source {
	case "", "none":
	case "file":
		if r.File == "" || len(r.File) > 4096 || strings.ContainsAny(r.File, "\r\n\t") {
			return k.at("reputation", 0, "file", "source file needs the path of the file")
		}
	case "dns":
		if zone, err := mail.ParseDomain(r.Zone); err != nil || zone[0] == '[' || !strings.Contains(zone, ".") {
			return k.at("reputation", 0, "zone", "%q is not the zone of a score service", clip(r.Zone))
		}
	default:
		return k.at("reputation", 0, "source", "%q is none of none, file, dns", clip(r.Source))
	}
	if k.c.Role == string(Manager) && r.Source != "" && r.Source != "none" {
		return k.at("reputation", 0, "source", "a manager takes no mail over SMTP and needs no scores")
	}
	return nil
}
