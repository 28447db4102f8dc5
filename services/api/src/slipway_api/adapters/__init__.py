"""The real outside: Keystone, Nova, Neutron, Glance, the provisioners, the files of an operator."""
