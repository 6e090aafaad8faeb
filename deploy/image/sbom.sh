#!/bin/sh
# Writes what the binary is made of to standard output: a software bill of materials in CycloneDX 1.5 (JSON), with each
# crate that is linked in, its version, licence, package URL, and the checksum of its package from Cargo.lock.
#
#   deploy/image/sbom.sh >target/release/inferometer.cdx.json
#
# It needs cargo and awk, which the image that compiles has. The same Cargo.lock gives the same file on the same kind of
# machine: it holds no time and no serial number. Debian's packages are not in it: image scanners find them by dpkg's
# own list in the image.
set -eu
cd "$(dirname "$0")/../.."

# Without what only runs while compiling: build scripts' crates and procedural macros.
tree=$(cargo tree --locked --package inferometer --edges normal,no-proc-macro --prefix none --format '{p}|{l}' | sort -u)

printf '%s\n' "$tree" | LC_ALL=C awk '
    # What Cargo.lock says: the checksum of each package that comes from the registry.
    FILENAME == "Cargo.lock" {
        if ($1 == "name") name = unquoted($3)
        if ($1 == "version") version = unquoted($3)
        if ($1 == "checksum") checksums[name " " version] = unquoted($3)
        next
    }
    # `name vVERSION (where)|licence (*)`, the last of which says that it stands there twice.
    {
        split($0, halves, "|")
        split(halves[1], words, " ")
        version = substr(words[2], 2)
        licence = halves[2]
        sub(/ \(\*\)$/, "", licence)
        # The form from before licences were SPDX expressions.
        gsub(/ ?\/ ?/, " OR ", licence)
        key = words[1] " " version
        if (key in seen) next
        seen[key] = 1
        if (words[1] == "inferometer") {
            main = component("application", words[1], version, licence)
        } else {
            components = components (components == "" ? "" : ",\n") "    " component("library", words[1], version, licence)
        }
    }
    END {
        if (main == "" || components == "") {
            print "sbom.sh: cargo tree names no packages" >"/dev/stderr"
            exit 1
        }
        print "{"
        print "  \"bomFormat\": \"CycloneDX\","
        print "  \"specVersion\": \"1.5\","
        print "  \"version\": 1,"
        print "  \"metadata\": {\"component\": " main "},"
        print "  \"components\": [\n" components "\n  ]"
        print "}"
    }
    function unquoted(text) {
        gsub(/"/, "", text)
        return text
    }
    function component(type, name, version, licence,    purl, text) {
        purl = "pkg:cargo/" name "@" version
        gsub(/\+/, "%2B", purl)
        text = "{\"type\": \"" type "\", \"bom-ref\": \"" purl "\", \"name\": \"" name "\", \"version\": \"" version "\""
        if (licence != "") text = text ", \"licenses\": [{\"expression\": \"" licence "\"}]"
        # Packages of this repository are not in the registry: no checksum, and no package URL that would lead there.
        if ((name " " version) in checksums) {
            text = text ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" checksums[name " " version] "\"}]"
            text = text ", \"purl\": \"" purl "\""
        }
        return text "}"
    }
' Cargo.lock -
