"""An HTTP emulation of OpenStack: Keystone, Glance, Nova, Neutron, Octavia and Swift."""
