//! What the firmware says about the machine: known at once, without a network.

use std::path::Path;

/// Whether this is hardware of EC2's (EC2 user guide, "Detect whether a host is an EC2
/// instance"). Nitro says so in DMI, Xen in the hypervisor's UUID. A container sees its host's.
pub fn is_amazon() -> bool {
    is_amazon_at(Path::new("/sys"))
}

fn is_amazon_at(sys: &Path) -> bool {
    let starts = |path: &str, prefix: &str| {
        std::fs::read_to_string(sys.join(path))
            .is_ok_and(|text| text.trim().to_ascii_lowercase().starts_with(prefix))
    };
    starts("class/dmi/id/sys_vendor", "amazon ec2")
        || starts("class/dmi/id/board_asset_tag", "i-")
        || starts("hypervisor/uuid", "ec2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_tells_amazon_from_others() {
        let rows = [
            ("class/dmi/id/sys_vendor", "Amazon EC2\n", true),
            (
                "class/dmi/id/board_asset_tag",
                "i-0123456789abcdef0\n",
                true,
            ),
            (
                "hypervisor/uuid",
                "ec2e1916-9099-7caf-fd21-012345abcdef\n",
                true,
            ),
            ("class/dmi/id/sys_vendor", "QEMU\n", false),
            ("class/dmi/id/board_asset_tag", "Default string\n", false),
            (
                "hypervisor/uuid",
                "00000000-0000-0000-0000-000000000000\n",
                false,
            ),
        ];
        for (path, text, amazon) in rows {
            let dir = tempfile::tempdir().expect("a directory");
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(&file, text).expect("written");
            assert_eq!(is_amazon_at(dir.path()), amazon, "{path} {text}");
        }
        assert!(!is_amazon_at(Path::new("/nonexistent")));
    }
}
