"""The real outside: Keystone, Nova, Neutron, Glance, Cinder, the provisioners, the files of an operator."""
